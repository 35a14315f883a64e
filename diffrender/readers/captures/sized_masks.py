"""Mask files in the size of their images."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from diffrender.errors import DataError
from diffrender.imaging.filters import resize_area
from diffrender.readers.captures.resized import has_shape
from diffrender.readers.images.masks import read_mask

ROUNDING = 1e-6


def read_mask_of_image(path: Path, height: int, width: int, what: str = "the mask") -> tuple[Tensor, bool]:
    """Read a mask file, [height, width] as `read_mask` has it; and whether it had another size and was resampled.

    what: it is called, in messages. Raises DataError for one of another shape than its image, of height x width pixels.
    """
    mask = read_mask(path)
    if mask.shape == (height, width):
        return mask, False
    sizes = (mask.shape[1], mask.shape[0]), (width, height)
    if not has_shape(*min(sizes), *max(sizes)):
        raise DataError(
            f"{path}: {what} is {mask.shape[1]} x {mask.shape[0]} (width x height), but its image is {width} x"
            f" {height}; it may have any size, but must have the shape of its image"
        )
    if mask.shape[0] >= height:
        sized = resize_area(mask[None, :, :, None], height, width)[0, :, :, 0]
    else:
        sized = interpolate(mask[None, None], (height, width), mode="bilinear")[0, 0]
    # Rounding is neither a part of a pixel nor more than all of it.
    return torch.where(sized > 1 - ROUNDING, 1.0, sized.where(sized > ROUNDING, 0.0)), True
