"""Metrics between images and between masks. Images are compared as given: pass them sRGB-encoded, in 0..1."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffrender.errors import ShapeError

MOST_DB = 99.0
"""What means over views count the infinite PSNR of identical images as; 8-bit images that differ have at most 96 dB."""

SSIM_WINDOW = 11
"""Pixels per side of the window that structural similarity is of."""

_SSIM_SIGMA_PX = 1.5
# Rows of so many pixels at a time stay in a CPU's cache: a sixth of the time of whole images of 1600 x 1600.
_BAND_PIXELS = 2**16


def psnr_db(a: Tensor, b: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the peak signal-to-noise ratio [...] in dB of images [..., H, W, C] in 0..1: one number per image.

    weight: [..., H, W] at least 0, the weight of each pixel, for example a mask; None weights all equally. Pixels of
        weight 0 are not looked at.
    Identical images give infinity; an image whose weights are all zero gives NaN, because nothing was compared.
    """
    _check_pair("psnr_db", a, b, 3, "[..., H, W, C]")
    error = ((a - b) ** 2).mean(-1)
    if weight is None:
        mean_error = error.mean((-1, -2))
    else:
        _check_weight("psnr_db", weight, error.shape)
        weighted = torch.where(weight > 0, weight * error, 0)
        mean_error = weighted.sum((-1, -2)) / weight.sum((-1, -2))
    return -10 * torch.log10(mean_error)


def ssim(a: Tensor, b: Tensor, weight: Tensor | None = None, region: Tensor | None = None) -> Tensor:
    """Return the structural similarity [...] of images [..., H, W, C] in 0..1: one number per image, 1 if identical.

    The mean of `ssim_map`, over all windows or over those of the `region` of `mean_ssim`.
    """
    return mean_ssim(*ssim_map(a, b, weight), region)


def ssim_map(a: Tensor, b: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the structural similarity of images [..., H, W, C] in 0..1, and where it is known, as bool.

    Both [..., H - 10, W - 10], at each position of the 11 x 11 Gaussian window (sigma 1.5) inside the image; the mean
    over channels.
    weight: [..., H, W] at least 0, how much of each pixel is known. Windows with a pixel of weight 0 are not known:
        part of a window has other statistics than the whole.
    Raises ShapeError for images smaller than the window.
    Source: Z. Wang et al., "Image quality assessment: from error visibility to structural similarity" (2004), eq. 13.
    """
    _check_pair("ssim", a, b, 3, "[..., H, W, C]")
    height, width, channels = a.shape[-3:]
    if not has_ssim(height, width):
        raise ShapeError(f"ssim: images must be at least {SSIM_WINDOW} pixels high and wide, got {height} x {width}")
    if weight is not None:
        _check_weight("ssim", weight, a.shape[:-1])
        a, b = (torch.where(weight[..., None] > 0, image, 0) for image in (a, b))
    margin = SSIM_WINDOW - 1
    n_rows = max(1, _BAND_PIXELS // width)
    bands = [
        _similarity(*(image[:, first : first + n_rows + margin].contiguous() for image in pair)).mean(0)
        for pair in zip(*(image.reshape(-1, height, width, channels).movedim(-1, 1) for image in (a, b)), strict=True)
        for first in range(0, height - margin, n_rows)
    ]
    inner = (*a.shape[:-3], height - margin, width - margin)
    similarity = torch.cat(bands).reshape(inner) if bands else a.new_zeros(inner)
    if weight is None:
        return similarity, torch.ones_like(similarity, dtype=torch.bool)
    unknown = (weight <= 0).to(a.dtype).reshape(-1, 1, height, width)
    return similarity, torch.nn.functional.max_pool2d(unknown, SSIM_WINDOW, 1).reshape(inner) == 0


def mean_ssim(similarity: Tensor, is_known: Tensor, region: Tensor | None = None) -> Tensor:
    """Return the mean [...] of an `ssim_map` [..., H - 10, W - 10] where it is known; NaN if it is nowhere.

    region: [..., H, W] bool; only windows about these pixels count, whole, so that what is around an object is seen by
        the windows about its outline. None: all.
    """
    if region is not None:
        (height, width), half = similarity.shape[-2:], SSIM_WINDOW // 2
        _check_weight("ssim", region, (*similarity.shape[:-2], height + 2 * half, width + 2 * half), "region")
        is_known = is_known & region[..., half : half + height, half : half + width]
    return torch.where(is_known, similarity, 0).sum((-1, -2)) / is_known.sum((-1, -2))


def has_ssim(height: int, width: int) -> bool:
    """Return whether images of this size have a structural similarity: its window fits into them."""
    return min(height, width) >= SSIM_WINDOW


def mask_iou(a: Tensor, b: Tensor, threshold: float | None = 0.5, weight: Tensor | None = None) -> Tensor:
    """Return the intersection over union [...] of masks [..., H, W]: 1 for identical masks, also for two empty ones.

    threshold: mask values above it are inside, others outside; None compares coverages 0..1 as they are: the
        intersection is the smaller and the union the larger of the two.
    weight: [..., H, W] at least 0, of each pixel; None weights all equally. Pixels of weight 0 are not looked at.
    """
    _check_pair("mask_iou", a, b, 2, "[..., H, W]")
    if threshold is not None:
        a, b = (a > threshold).float(), (b > threshold).float()
    both, either = torch.minimum(a, b), torch.maximum(a, b)
    if weight is not None:
        _check_weight("mask_iou", weight, a.shape)
        both, either = (torch.where(weight > 0, weight * part, 0) for part in (both, either))
    intersection, union = both.sum((-1, -2)), either.sum((-1, -2))
    return torch.where(union > 0, intersection / union.where(union > 0, 1.0), 1.0)


def _similarity(x: Tensor, y: Tensor) -> Tensor:
    """Return the structural similarity of images [C, H, W] in every window inside them."""
    # About the means of both: variances of nearly even parts are small differences of large squares.
    base_x, base_y = (image.mean((-1, -2), keepdim=True) for image in (x, y))
    x, y = x - base_x, y - base_y
    mean_x, mean_y, squares, product = _window_mean(torch.stack([x, y, x * x + y * y, x * y]))
    c1, c2 = 0.01**2, 0.03**2  # the constants of the paper, for a data range of 1
    structure = (2 * (product - mean_x * mean_y) + c2) / (squares - (mean_x**2 + mean_y**2) + c2)
    mean_x, mean_y = mean_x + base_x, mean_y + base_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance * structure


def _window_mean(images: Tensor) -> Tensor:
    """Return Gaussian-weighted means of images [..., H, W] over every window inside them."""
    offset = torch.arange(SSIM_WINDOW, dtype=images.dtype, device="cpu") - SSIM_WINDOW // 2
    window = torch.exp(-0.5 * (offset / _SSIM_SIGMA_PX) ** 2)
    weights = (window / window.sum()).tolist()
    # Shifted images, added up: on a CPU a seventh of the time of convolutions of one channel.
    for axis in (-2, -1):
        length = images.shape[axis] - SSIM_WINDOW + 1
        total = images.narrow(axis, 0, length) * weights[0]
        for first, weight in enumerate(weights[1:], 1):
            total.add_(images.narrow(axis, first, length), alpha=weight)
        images = total
    return images


def _check_weight(function: str, weight: Tensor, shape: Sequence[int], name: str = "weight") -> None:
    if tuple(weight.shape) != tuple(shape):
        raise ShapeError(f"{function}: {name} must have shape {list(shape)}, got {list(weight.shape)}")


def _check_pair(function: str, a: Tensor, b: Tensor, min_dims: int, shape: str) -> None:
    if a.dim() < min_dims:
        raise ShapeError(f"{function}: a must have shape {shape}, got {list(a.shape)}")
    if a.shape != b.shape:
        raise ShapeError(f"{function}: a and b must have the same shape, got {list(a.shape)} and {list(b.shape)}")
