"""Losses on coverage: rendered alpha against target masks."""

from __future__ import annotations

from collections.abc import Sequence
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
        apart, union = self._areas(comparison)
        return apart / union

    def differences(self, comparison: LossInputs) -> list[Tensor]:
        """Return those of the coverage, [n, H, W]."""
        return [comparison.coverage - comparison.masks()]

    def cost(self, differences: Sequence[Tensor], comparison: LossInputs) -> Tensor:
        """Return [n]: what is apart, relative to the union as it is."""
        weights = comparison.views.weights
        apart = differences[0].abs() if weights is None else weights * differences[0].abs()
        return sum_per_view(apart) / self._areas(comparison)[1].detach()

    def _areas(self, comparison: LossInputs) -> tuple[Tensor, Tensor]:
        """Return what is in one of them alone, and the union, in pixels [n]."""
        coverage, mask, weights = comparison.coverage, comparison.masks(), comparison.views.weights
        if weights is not None:
            coverage, mask = weights * coverage, weights * mask
        apart = sum_per_view((coverage - mask).abs())
        # max(a, b) = (a + b + |a - b|) / 2: half the time of another pass with its gradient.
        union = (sum_per_view(coverage) + sum_per_view(mask) + apart) / 2
        # It is at least one pixel, so that the gradient stays bounded as both vanish.
        return apart, union.clamp_min(1)


@dataclass(frozen=True)
class MaskL1(Loss):
    """Mean over the image of |coverage - target mask|; independent of the size of the object."""

    aovs: ClassVar[tuple[str, ...]] = ()
    needs_masks: ClassVar[bool] = True

    def __call__(self, comparison: LossInputs) -> Tensor:
        """Return the mean absolute difference of each view [n]."""
        return self.cost(self.differences(comparison), comparison)

    def differences(self, comparison: LossInputs) -> list[Tensor]:
        """Return those of the coverage, [n, H, W]."""
        return [comparison.coverage - comparison.masks()]

    def cost(self, differences: Sequence[Tensor], comparison: LossInputs) -> Tensor:
        """Return the mean absolute difference of each view [n]."""
        return comparison.mean(differences[0].abs())
