"""Colour spaces: linear light and sRGB."""

from __future__ import annotations

import torch
from torch import Tensor

# IEC 61966-2-1: a straight piece near black, a power above; the two thresholds are one point in the two spaces.
_LINEAR_THRESHOLD = 0.0031308
_ENCODED_THRESHOLD = 0.04045


def srgb_from_linear(linear: Tensor) -> Tensor:
    """sRGB-encoded values of linear ones, any shape.

    0..1 goes to 0..1. Below 0 the straight piece and above 1 the power go on, so the gradient is finite and positive
    everywhere. Source: IEC 61966-2-1.
    """
    # The clamp keeps the untaken branch away from 0, where the power has an infinite gradient (and inf * 0 is NaN).
    # exp(log) and not **: torch's power rounds differently where one thread's share of a tensor ends.
    power = 1.055 * (linear.clamp_min(_LINEAR_THRESHOLD).log() / 2.4).exp() - 0.055
    return torch.where(linear <= _LINEAR_THRESHOLD, 12.92 * linear, power)


def linear_from_srgb(encoded: Tensor) -> Tensor:
    """Linear values of sRGB-encoded ones, any shape; the inverse of `srgb_from_linear`, also outside 0..1."""
    power = (((encoded.clamp_min(_ENCODED_THRESHOLD) + 0.055) / 1.055).log() * 2.4).exp()
    return torch.where(encoded <= _ENCODED_THRESHOLD, encoded / 12.92, power)
