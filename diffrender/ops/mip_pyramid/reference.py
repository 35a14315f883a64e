"""Mip levels in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.imaging.filters import resize_area


def forward(texels: Tensor, sizes: tuple[tuple[int, int], ...]) -> Tensor:
    """See op.mip_pyramid; [T, C]."""
    levels = [texels[None]]
    for height, width in sizes[1:]:
        levels.append(resize_area(levels[-1], height, width))
    return torch.cat([level.flatten(0, 2) for level in levels])
