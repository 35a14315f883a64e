"""Losses on AOVs: normals and depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from diffrender.errors import ConfigError
from diffrender.fit.loss_inputs import LossInputs
from diffrender.fit.losses.pointwise import POINTWISE
from diffrender.fit.objective import Loss


@dataclass(frozen=True)
class AovLoss(Loss):
    """Mean over pixels and channels of a penalty on the difference of one AOV (diffrender.render.aovs).

    Pixels where the target is NaN are not compared.

    aov: "normal" (world normals) or "depth" (camera depth, in world units).
    of: the penalty: a name in POINTWISE, with its default options.
    """

    aov: str
    of: str = "l1"

    def __post_init__(self) -> None:
        if self.of not in POINTWISE:
            raise ConfigError(f"{self.aov}: type must be one of {', '.join(POINTWISE)}, got {self.of!r}")

    @property
    def aovs(self) -> tuple[str, ...]:
        """The AOV that it compares."""
        return (self.aov,)

    def __call__(self, comparison: LossInputs) -> Tensor:
        """Return the mean penalty of each view [n]."""
        return self.cost(self.differences(comparison), comparison)

    def differences(self, comparison: LossInputs) -> list[Tensor]:
        """Return those of the AOV, [n, H, W, C]."""
        return [comparison.aov_difference(self.aov)]

    def cost(self, differences: Sequence[Tensor], comparison: LossInputs) -> Tensor:
        """Return the mean penalty of each view [n]."""
        return comparison.mean(POINTWISE[self.of]().penalty(differences[0]))
