"""Penalties of differences: zero at zero, symmetric, differentiable."""

from __future__ import annotations

import torch
from torch import Tensor


def l1(difference: Tensor) -> Tensor:
    """Return |d|, same shape."""
    return difference.abs()


def l2(difference: Tensor) -> Tensor:
    """Return d^2, same shape."""
    return difference * difference


def huber(difference: Tensor, delta: float) -> Tensor:
    """Return d^2 / (2 delta) where |d| < delta, else |d| - delta / 2, same shape.

    Source: P. Huber, Robust Estimation of a Location Parameter, 1964, times 1 / delta, so that large differences cost
    as in l1.
    """
    # Not torch's smooth_l1_loss: on CPU its gradient rounds differently where the ranges of two threads meet.
    size = difference.abs()
    inner = size.clamp_max(delta)
    return inner * (size - 0.5 * inner) / delta


def charbonnier(difference: Tensor, epsilon: float) -> Tensor:
    """Return sqrt(d^2 + epsilon^2) - epsilon, same shape: like l1 from epsilon on, but smooth at zero.

    Source: P. Charbonnier and others, Two deterministic half-quadratic regularization algorithms for computed imaging,
    1994.
    """
    bend = difference.new_tensor(epsilon)
    return torch.hypot(difference, bend) - bend
