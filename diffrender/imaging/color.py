"""Colour spaces: linear light and sRGB."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# IEC 61966-2-1: linear near black, a power law above; the two thresholds are the same point in the two spaces.
_LINEAR_THRESHOLD = 0.0031308
_ENCODED_THRESHOLD = 0.04045


def srgb_from_linear(linear: Tensor) -> Tensor:
    """Encode linear values, of any shape, as sRGB.

    0..1 maps to 0..1. The linear piece continues below 0 and the power law above 1, so the gradient is finite and
    positive everywhere. Source: IEC 61966-2-1.
    """
    return _SrgbFromLinear.apply(linear)  # type: ignore[return-value]


class _SrgbFromLinear(torch.autograd.Function):
    """The sRGB curve with a closed-form derivative, which takes half as many passes over the image as autograd."""

    @staticmethod
    def forward(ctx: Any, linear: Tensor) -> Tensor:
        # exp(log) instead of **: torch's power rounds differently at the end of each thread's part of a tensor.
        power = 1.055 * (linear.clamp_min(_LINEAR_THRESHOLD).log() / 2.4).exp() - 0.055
        encoded = torch.where(linear <= _LINEAR_THRESHOLD, 12.92 * linear, power)
        ctx.save_for_backward(linear, encoded)
        return encoded

    @staticmethod
    def backward(ctx: Any, grad_encoded: Tensor) -> Tensor:  # type: ignore[override]
        linear, encoded = ctx.saved_tensors
        # d/dx (1.055 x^(1 / 2.4) - 0.055); the clamp keeps the unused branch away from 0, where it is infinite.
        slope = (encoded + 0.055) / (2.4 * linear.clamp_min(_LINEAR_THRESHOLD))
        return grad_encoded * torch.where(linear <= _LINEAR_THRESHOLD, 12.92, slope)


def linear_from_srgb(encoded: Tensor) -> Tensor:
    """Decode sRGB values, of any shape, to linear ones: the inverse of `srgb_from_linear`, also outside 0..1."""
    power = (((encoded.clamp_min(_ENCODED_THRESHOLD) + 0.055) / 1.055).log() * 2.4).exp()
    return torch.where(encoded <= _ENCODED_THRESHOLD, encoded / 12.92, power)
