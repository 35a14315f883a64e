"""Filling the unknown parts of an image."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from diffrender.checks import check_float, check_shape


def fill_nearest(image: Tensor, known: Tensor) -> Tensor:
    """Return the image [H, W, C] with every unknown pixel as the nearest known one; where none is known, unchanged.

    known: [H, W] bool. Ties go the same way every time.
    """
    _check(image, known, "fill_nearest")
    if not bool(known.any()):
        return image
    from scipy.ndimage import distance_transform_edt

    found = distance_transform_edt(~known.cpu().numpy(), return_distances=False, return_indices=True)
    row, column = torch.from_numpy(np.asarray(found, dtype=np.int64)).to(image.device)
    return image[row, column]


def fill_smooth(image: Tensor, known: Tensor) -> Tensor:
    """Return the image [H, W, C] with unknown pixels filled smoothly from the known ones, which do not change.

    known: [H, W] bool; where none is known, the image comes back unchanged.
    Push-pull: means of the known pixels over ever larger squares, interpolated back into the holes. Source: Gortler,
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
        # Squares that know anything keep it; only empty ones take the coarser value.
        filled = torch.where(weight > 0, color / weight.where(weight > 0, 1), coarse)
    return torch.where(known[:, :, None], image, filled[0].permute(1, 2, 0))


def _check(image: Tensor, known: Tensor, function: str) -> None:
    check_shape(function, "image", image, ("H", "W", "C"))
    check_float(function, "image", image)
    check_shape(function, "known", known, tuple(image.shape[:2]))
