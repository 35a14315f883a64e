"""Squared differences of colours."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diffrender.fit.loss_inputs import check_space
from diffrender.fit.losses.pointwise import PointwiseLoss


@dataclass(frozen=True)
class L2(PointwiseLoss):
    """Mean squared difference: what PSNR measures; the pull fades as colours agree.

    space: "srgb", "linear" or "log", where colours are compared.
    """

    space: str = "srgb"

    def __post_init__(self) -> None:
        check_space("l2", self.space)

    def penalty(self, difference: Tensor) -> Tensor:
        """d^2."""
        return difference * difference
