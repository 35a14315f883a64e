"""Colour spaces: linear light and sRGB."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# IEC 61966-2-1: linear near black, a power law above; the two thresholds are the same point in the two spaces.
LINEAR_THRESHOLD = 0.0031308
LINEAR_SLOPE = 12.92
EXPONENT = 1 / 2.4
ENCODED_SCALE = 1.055
ENCODED_OFFSET = 0.055
_ENCODED_THRESHOLD = 0.04045
# Values this near to 1 count as clipped: means of clipped values differ from 1 by rounding only.
AT_THE_END = 1e-4


def srgb_from_linear(linear: Tensor) -> Tensor:
    """Encode linear values, of any shape, as sRGB.

    0..1 maps to 0..1. The linear piece continues below 0 and the power law above 1, so the gradient is finite and
    positive everywhere. Source: IEC 61966-2-1.
    """
    return _SrgbFromLinear.apply(linear)  # type: ignore[return-value]


class _SrgbFromLinear(torch.autograd.Function):
    """The sRGB curve with a closed-form derivative, which takes half as many passes over the image as autograd."""

    generate_vmap_rule = True

    @staticmethod
    def forward(linear: Tensor) -> Tensor:
        # exp(log) instead of **: torch's power rounds differently at the end of each thread's part of a tensor.
        # In place, and the lesser of the two pieces: half the time of as many new tensors.
        power = linear.clamp_min(LINEAR_THRESHOLD).log_().mul_(EXPONENT).exp_().mul_(ENCODED_SCALE).sub_(ENCODED_OFFSET)
        return torch.minimum(power, LINEAR_SLOPE * linear)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)
        ctx.save_for_forward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, grad_encoded: Tensor) -> Tensor:  # type: ignore[override]
        return grad_encoded * _slope(*ctx.saved_tensors)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return tangent * _slope(*ctx.saved_tensors)


def _slope(linear: Tensor, encoded: Tensor) -> Tensor:
    """Return the derivative of the sRGB curve at linear values: of 1.055 x^(1 / 2.4) - 0.055 above the threshold."""
    # The clamp keeps the unused branch away from 0, where it is infinite.
    slope = EXPONENT * (encoded + ENCODED_OFFSET) / linear.clamp_min(LINEAR_THRESHOLD)
    return torch.where(linear <= LINEAR_THRESHOLD, LINEAR_SLOPE, slope)


def linear_from_srgb(encoded: Tensor) -> Tensor:
    """Decode sRGB values, of any shape, to linear ones: the inverse of `srgb_from_linear`, also outside 0..1."""
    power = (((encoded.clamp_min(_ENCODED_THRESHOLD) + ENCODED_OFFSET) / ENCODED_SCALE).log() / EXPONENT).exp()
    return torch.where(encoded <= _ENCODED_THRESHOLD, encoded / LINEAR_SLOPE, power)


def is_clipped(images: Tensor) -> Tensor:
    """Return a mask [...] of the values at 1, where 8-bit files clip overexposed pixels."""
    return (images - 1).abs() < AT_THE_END


def _identity(linear: Tensor) -> Tensor:
    return linear


def _log(linear: Tensor) -> Tensor:
    # Linear below 0, where only noise and filter overshoot occur: no infinity, no zero gradient.
    return torch.where(linear > 0, (1 + linear.clamp_min(0)).log(), linear)


COLOR_SPACES: dict[str, Callable[[Tensor], Tensor]] = {"linear": _identity, "srgb": srgb_from_linear, "log": _log}
"""The spaces in which images can be compared, by name.

In "srgb" equal differences look about equally large. "log", log(1 + x), is for pictures far above 1: it compares by
difference near black and by ratio in highlights.
"""
