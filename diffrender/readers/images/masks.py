"""Masks from image files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from diffrender.imaging.color import srgb_from_linear
from diffrender.readers.images.high_bit_depth import LINEAR_SUFFIXES, has_high_bit_depth, read_hdr_image
from diffrender.readers.images.image import existing_file, has_alpha, open_picture


def read_mask(path: str | Path) -> Tensor:
    """Read a mask file, [H, W] float32 in 0..1: black is 0 and white is 1.

    The mask is the file's transparency, unless it is 1 everywhere; else the largest channel of its colours.
    Raises DataError as `read_image` does.
    """
    path = existing_file(Path(path))
    if has_high_bit_depth(path):
        return _high_bit_depth_mask(path)
    picture = open_picture(path)
    if has_alpha(picture):
        alpha = np.asarray(picture.convert("RGBA"))[:, :, 3]
        if alpha.min() < 255:
            return torch.from_numpy(alpha.astype(np.float32) / 255)
    # Of red or green masks too.
    gray = np.asarray(picture.convert("RGB")).max(2)
    return torch.from_numpy(gray.astype(np.float32) / 255)


def _high_bit_depth_mask(path: Path) -> Tensor:
    image = read_hdr_image(path)
    if image.alpha is not None and float(image.alpha.min()) < 1:
        return image.alpha
    # Integers were decoded from sRGB, but in a mask they count as they are.
    rgb = image.rgb if path.suffix.lower() in LINEAR_SUFFIXES else srgb_from_linear(image.rgb)
    return rgb.mean(2).clamp(0, 1)
