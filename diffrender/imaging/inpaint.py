"""Inpainting: filling the unknown pixels of an image."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from diffrender.checks import check_float, check_shape


def fill_nearest(image: Tensor, known: Tensor) -> Tensor:
    """Replace each unknown pixel of an image [H, W, C] by the nearest known one.

    known: [H, W] bool; if no pixel is known, the image is returned unchanged. Ties are broken the same way every time.
    """
    _check(image, known, "fill_nearest")
    if not bool(known.any()):
        return image
    from scipy.ndimage import distance_transform_edt

    found = distance_transform_edt(~known.cpu().numpy(), return_distances=False, return_indices=True)
    row, column = torch.from_numpy(np.asarray(found, dtype=np.int64)).to(image.device)
    return image[row, column]


def fill_smooth(image: Tensor, known: Tensor) -> Tensor:
    """Fill the unknown pixels of an image [H, W, C] smoothly by push-pull; known pixels are unchanged.

    known: [H, W] bool; if no pixel is known, the image is returned unchanged.
    Known pixels are averaged over larger and larger squares, then interpolated back into the holes. Source: Gortler,
    Grzeszczuk, Szeliski & Cohen 1996, "The lumigraph", section 3.4.2.
    """
    _check(image, known, "fill_smooth")
    if not bool(known.any()):
        return image
    weight = known.to(image.dtype)[None, None]
    color = image.permute(2, 0, 1)[None] * weight
    levels = [(color, weight)]
    while not bool((levels[-1][1] > 0).all()):
        color, weight = (
            torch.nn.functional.avg_pool2d(part, 2, ceil_mode=True, count_include_pad=False) for part in levels[-1]
        )
        levels.append((color, weight))
    filled = levels[-1][0] / levels[-1][1]
    for color, weight in reversed(levels[:-1]):
        coarse = torch.nn.functional.interpolate(filled, weight.shape[2:], mode="bilinear", align_corners=False)
        # Squares with a known pixel keep its value; only empty ones take the coarser one.
        filled = torch.where(weight > 0, color / weight.where(weight > 0, 1), coarse)
    return torch.where(known[:, :, None], image, filled[0].permute(1, 2, 0))


def _check(image: Tensor, known: Tensor, function: str) -> None:
    check_shape(function, "image", image, ("H", "W", "C"))
    check_float(function, "image", image)
    check_shape(function, "known", known, tuple(image.shape[:2]))
