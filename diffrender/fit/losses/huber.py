"""Absolute differences of colours, rounded off near zero."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from diffrender.errors import ConfigError
from diffrender.fit.loss_inputs import check_space
from diffrender.fit.losses.pointwise import PointwiseLoss


@dataclass(frozen=True)
class Huber(PointwiseLoss):
    """Quadratic below `delta`, linear above (P. Huber, Robust Estimation of a Location Parameter, 1964).

    Departs from the paper by a factor 1 / delta, so that large differences cost as in l1 and weights carry over.

    delta: colour difference, above 0, where the quadratic piece ends.
    space: "srgb", "linear" or "log", where colours are compared.
    """

    delta: float = 0.1
    space: str = "srgb"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.delta) and self.delta > 0):
            raise ConfigError(f"huber: delta must be a finite number above 0, got {self.delta}")
        check_space("huber", self.space)

    def penalty(self, difference: Tensor) -> Tensor:
        """d^2 / (2 delta) where |d| < delta, else |d| - delta / 2."""
        # Not torch's smooth_l1_loss: on CPU its gradient rounds differently at the seams between threads.
        size = difference.abs()
        inner = size.clamp_max(self.delta)
        return inner * (size - 0.5 * inner) / self.delta
