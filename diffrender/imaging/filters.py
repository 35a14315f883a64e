"""Filters for batches of channels-last images: downsampling, pyramids and blur."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffrender.checks import check_float, check_shape
from diffrender.errors import ShapeError


def downsample_by_two(images: Tensor) -> Tensor:
    """Average blocks of 2 x 2 pixels: [N, ceil(H / 2), ceil(W / 2), C] from images [N, H, W, C]; differentiable.

    An odd last row or column counts twice, as if the border pixels were repeated outside.
    """
    _check_images("downsample_by_two", images)
    height, width = images.shape[1:3]
    if height % 2:
        images = torch.cat([images, images[:, -1:]], 1)
    if width % 2:
        images = torch.cat([images, images[:, :, -1:]], 2)
    rows = images[:, 0::2] + images[:, 1::2]
    return (rows[:, :, 0::2] + rows[:, :, 1::2]) / 4


def pyramid(images: Tensor, levels: int) -> list[Tensor]:
    """Return the images [N, H, W, C] and their successive halves: `levels` in all, or fewer if 1 x 1 comes first."""
    _check_images("pyramid", images)
    if levels < 1:
        raise ShapeError(f"pyramid: levels must be at least 1, got {levels}")
    result = [images]
    while len(result) < levels and max(result[-1].shape[1:3]) > 1:
        result.append(downsample_by_two(result[-1]))
    return result


def resize_area(images: Tensor, height: int, width: int, weights: Tensor | None = None) -> Tensor:
    """Downsample images [N, H, W, C] to [N, height, width, C] by area averaging; differentiable.

    Each new pixel is the exact mean of the old image over the area that it covers, for any ratio: there is no aliasing,
    and the mean of the image is preserved. Pass linear light; means of sRGB values are too dark.
    weights: [N, H, W] at least 0, how much each old pixel counts; None: all the same. A new pixel is 0 if none of it
        counts, and what does not count may be anything.
    Raises ShapeError if the new size is larger than the old one in either direction.
    """
    _check_images("resize_area", images)
    have = f"{images.shape[1]} x {images.shape[2]}"
    if height < 1 or width < 1:
        raise ShapeError(f"resize_area: height and width must be at least 1, got {height} x {width}")
    if height > images.shape[1] or width > images.shape[2]:
        raise ShapeError(f"resize_area: the new size must be at most {have}, got {height} x {width}")
    if weights is not None:
        check_shape("resize_area", "weights", weights, tuple(images.shape[:3]))
        weights = weights[..., None]
        sums = resize_area(torch.where(weights > 0, weights * images, 0), height, width)
        counted = resize_area(weights, height, width)
        return sums / torch.where(counted > 0, counted, 1)
    for dim, size in ((1, height), (2, width)):
        if size != images.shape[dim]:
            images = _weighted_taps(images, dim, *_area_taps(images.shape[dim], size))
    return images


def gaussian_weights(sigma_px: float | Tensor) -> tuple[Tensor, Tensor]:
    """Return the offsets of a Gaussian that is cut at four sigmas, and their weights, which sum to 1: float64, CPU.

    sigma_px: standard deviation above 0, a number or a tensor []; the weights are differentiable in it.
    """
    sigma = torch.as_tensor(sigma_px, dtype=torch.float64, device="cpu")
    reach = math.ceil(4 * float(sigma.detach()))
    offset = torch.arange(-reach, reach + 1, device="cpu")
    weight = torch.exp(-0.5 * (offset.double() / sigma) ** 2)
    return offset, weight / weight.sum()


def gaussian_blur(images: Tensor, sigma_px: float | Tensor) -> Tensor:
    """Convolve images [N, H, W, C] with a Gaussian of standard deviation `sigma_px`; differentiable in both.

    Border pixels are repeated outside the image. The Gaussian is truncated at four sigmas and normalized;
    sigma_px = 0 returns the images unchanged.
    """
    _check_images("gaussian_blur", images)
    value = float(sigma_px.detach()) if isinstance(sigma_px, Tensor) else sigma_px
    if not (math.isfinite(value) and value >= 0):
        raise ShapeError(f"gaussian_blur: sigma_px must be at least 0, got {value}")
    if value == 0:
        return images
    offset, weight = gaussian_weights(sigma_px)
    for dim in (1, 2):
        size = images.shape[dim]
        index = (torch.arange(size, device="cpu")[:, None] + offset).clamp(0, size - 1)
        images = _weighted_taps(images, dim, index, weight.expand(size, -1))
    return images


def _area_taps(size: int, new_size: int) -> tuple[Tensor, Tensor]:
    """Return the old pixels that each new one covers, and their weights: [new_size, K] int64, [new_size, K] float64."""
    # Integers until the division (an old pixel is new_size long, a new one size), so weights add up exactly.
    start = torch.arange(new_size, device="cpu") * size
    first = start // new_size
    n_taps = -(-size // new_size) + 1
    index = first[:, None] + torch.arange(n_taps, device="cpu")
    overlap = torch.minimum((index + 1) * new_size, start[:, None] + size) - torch.maximum(
        index * new_size, start[:, None]
    )
    weight = overlap.clamp_min(0).double() / size
    used = weight.any(0)  # integer ratios leave the last tap empty
    return index.clamp_max(size - 1)[:, used], weight[:, used]


def _weighted_taps(images: Tensor, dim: int, index: Tensor, weight: Tensor) -> Tensor:
    """Return images whose slice i along `dim` is the sum over k of weight[i, k] times slice index[i, k] of `images`."""
    index = index.to(images.device)
    weight = weight.to(images)
    broadcast = [-1 if d == dim else 1 for d in range(images.dim())]
    total = None
    for k in range(index.shape[1]):
        term = images.index_select(dim, index[:, k]) * weight[:, k].reshape(broadcast)
        total = term if total is None else total + term
    assert total is not None
    return total


def _check_images(function: str, images: Tensor) -> None:
    check_shape(function, "images", images, ("N", "H", "W", "C"))
    check_float(function, "images", images)
    if 0 in images.shape[1:3]:
        raise ShapeError(f"{function}: images must have at least one pixel, got {list(images.shape)}")
