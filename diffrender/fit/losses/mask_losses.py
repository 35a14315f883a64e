"""Losses on coverage: rendered alpha against target masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from diffrender.fit.deterministic_reduce import sum_per_view
from diffrender.fit.loss_inputs import LossInputs
from diffrender.fit.objective import Loss


@dataclass(frozen=True)
class MaskIoU(Loss):
    """1 - IoU of coverage and target mask.

    Intersection and union are the minimum and maximum of the two coverages (M. Ruzicka, 1958): for binary masks the
    same as the usual product form, and pixels half covered in both count as equal.
    """

    aovs: ClassVar[tuple[str, ...]] = ()
    needs_masks: ClassVar[bool] = True

    def __call__(self, comparison: LossInputs) -> Tensor:
        """Return [n]: 0 for equal silhouettes, also for two empty ones; 1 for disjoint ones."""
        coverage, mask, weights = comparison.output.coverage, comparison.masks(), comparison.views.weights
        if weights is not None:
            coverage, mask = weights * coverage, weights * mask
        apart = sum_per_view((coverage - mask).abs())
        # max(a, b) = (a + b + |a - b|) / 2: half the time of another pass with its gradient.
        union = (sum_per_view(coverage) + sum_per_view(mask) + apart) / 2
        # It is at least one pixel, so that the gradient stays bounded as both vanish.
        return apart / union.clamp_min(1)


@dataclass(frozen=True)
class MaskL1(Loss):
    """Mean over the image of |coverage - target mask|; independent of the size of the object."""

    aovs: ClassVar[tuple[str, ...]] = ()
    needs_masks: ClassVar[bool] = True

    def __call__(self, comparison: LossInputs) -> Tensor:
        """Return the mean absolute difference of each view [n]."""
        return comparison.mean((comparison.output.coverage - comparison.masks()).abs())
