"""Colour spaces: linear light and sRGB."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# IEC 61966-2-1: a straight piece near black, a power above; the two thresholds are one point in the two spaces.
_LINEAR_THRESHOLD = 0.0031308
_ENCODED_THRESHOLD = 0.04045


def srgb_from_linear(linear: Tensor) -> Tensor:
    """Return sRGB-encoded values of linear ones, any shape.

    0..1 goes to 0..1. Below 0 the straight piece and above 1 the power go on, so the gradient is finite and positive
    everywhere. Source: IEC 61966-2-1.
    """
    return _SrgbFromLinear.apply(linear)  # type: ignore[return-value]


class _SrgbFromLinear(torch.autograd.Function):
    """The curve with its derivative in closed form: half the passes over the image that autograd would take."""

    @staticmethod
    def forward(ctx: Any, linear: Tensor) -> Tensor:
        # exp(log) and not **: torch's power rounds differently where one thread's share of a tensor ends.
        power = 1.055 * (linear.clamp_min(_LINEAR_THRESHOLD).log() / 2.4).exp() - 0.055
        encoded = torch.where(linear <= _LINEAR_THRESHOLD, 12.92 * linear, power)
        ctx.save_for_backward(linear, encoded)
        return encoded

    @staticmethod
    def backward(ctx: Any, grad_encoded: Tensor) -> Tensor:  # type: ignore[override]
        linear, encoded = ctx.saved_tensors
        # Of 1.055 x^(1 / 2.4) - 0.055. The clamp keeps what is not taken away from 0, where it has no bound.
        slope = (encoded + 0.055) / (2.4 * linear.clamp_min(_LINEAR_THRESHOLD))
        return grad_encoded * torch.where(linear <= _LINEAR_THRESHOLD, 12.92, slope)


def linear_from_srgb(encoded: Tensor) -> Tensor:
    """Return linear values of sRGB-encoded ones, any shape; the inverse of `srgb_from_linear`, also outside 0..1."""
    power = (((encoded.clamp_min(_ENCODED_THRESHOLD) + 0.055) / 1.055).log() * 2.4).exp()
    return torch.where(encoded <= _ENCODED_THRESHOLD, encoded / 12.92, power)
