"""The blur in plain PyTorch."""

from __future__ import annotations

from torch import Tensor

from diffrender.imaging.filters import gaussian_blur


def forward(images: Tensor, sigma_px: float | Tensor) -> Tensor:
    """See op.blur."""
    return gaussian_blur(images, sigma_px)
