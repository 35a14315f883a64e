"""Differences of normals and of depths."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diffrender.errors import ConfigError
from diffrender.fit.deterministic_reduce import mean_per_view
from diffrender.fit.loss_inputs import LossInputs
from diffrender.fit.losses.pointwise import POINTWISE
from diffrender.fit.objective import Loss


@dataclass(frozen=True)
class BufferLoss(Loss):
    """The mean over pixels and channels of a cost of the difference of one buffer (diffrender.render.aovs).

    Pixels where the target is NaN are not compared.

    buffer: "normal" (world normals) or "depth" (camera depth, in world units).
    of: the cost: "l1", "l2" or "huber" with its default delta.
    """

    buffer: str
    of: str = "l1"

    def __post_init__(self) -> None:
        if self.of not in POINTWISE:
            raise ConfigError(f"{self.buffer}: type must be one of {', '.join(POINTWISE)}, got {self.of!r}")

    @property
    def buffers(self) -> tuple[str, ...]:
        """The one it compares."""
        return (self.buffer,)

    def __call__(self, comparison: LossInputs) -> Tensor:
        """[n] the mean cost of each view."""
        return mean_per_view(POINTWISE[self.of]().penalty(comparison.buffer_difference(self.buffer)))
