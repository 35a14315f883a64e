"""A diffuse surface in plain PyTorch."""

from __future__ import annotations

import math

from torch import Tensor


def forward(normal: Tensor, to_light: Tensor, base_color: Tensor) -> Tensor:
    """See op.lambert."""
    cosine = (normal[:, None, :] * to_light).sum(-1, keepdim=True).clamp_min(0)
    return base_color[:, None, :] * (cosine / math.pi)
