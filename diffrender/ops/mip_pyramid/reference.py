"""Mip levels in plain PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffrender.imaging.filters import resize_area


def forward(images: Sequence[Tensor], sizes: tuple[tuple[int, int], ...]) -> Tensor:
    """See op.mip_pyramid; [T, C]."""
    levels = [torch.cat(list(images), 2)[None]]
    for height, width in sizes[1:]:
        levels.append(resize_area(levels[-1], height, width))
    return torch.cat([level.flatten(0, 2) for level in levels])
