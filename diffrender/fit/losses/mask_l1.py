"""Absolute differences of coverage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from diffrender.fit.deterministic_reduce import mean_per_view
from diffrender.fit.loss_inputs import LossInputs
from diffrender.fit.objective import Loss


@dataclass(frozen=True)
class MaskL1(Loss):
    """Mean over the image of |coverage - target mask|: an alpha channel under l1, however large the object is."""

    buffers: ClassVar[tuple[str, ...]] = ()
    needs_masks: ClassVar[bool] = True

    def __call__(self, comparison: LossInputs) -> Tensor:
        """[n] the mean difference of each view."""
        return mean_per_view((comparison.output.coverage - comparison.masks()).abs())
