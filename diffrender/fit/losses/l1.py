"""Absolute differences of colours."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diffrender.fit.loss_inputs import check_space
from diffrender.fit.losses.pointwise import PointwiseLoss


@dataclass(frozen=True)
class L1(PointwiseLoss):
    """Mean absolute difference: a few wrong pixels, such as highlights, do not dominate.

    space: "srgb", "linear" or "log", where colours are compared.
    """

    space: str = "srgb"

    def __post_init__(self) -> None:
        check_space("l1", self.space)

    def penalty(self, difference: Tensor) -> Tensor:
        """|d|."""
        return difference.abs()
