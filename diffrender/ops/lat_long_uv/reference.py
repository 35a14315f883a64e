"""Places of directions in a lat-long map in plain PyTorch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffrender.ops.lat_long_uv.op import NEAREST_POLE


def forward(directions: Tensor, padding: float) -> Tensor:
    """See op.lat_long_uv."""
    x, y, z = directions.unbind(1)
    squared = x * x + z * z
    is_pole = squared < NEAREST_POLE**2
    longitude = torch.atan2(z.where(~is_pole, 0), x.where(~is_pole, 1))
    polar = torch.atan2(squared.where(~is_pole, 1).sqrt().where(~is_pole, 0), y)
    polar = torch.where(is_pole, polar.detach(), polar)
    v = (polar / math.pi + padding) / (1 + 2 * padding)
    return torch.stack([longitude / (2 * math.pi) + 0.5, v], 1)
