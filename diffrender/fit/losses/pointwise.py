"""Losses that look at each colour value by itself."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from diffrender.fit.deterministic_reduce import mean_per_view
from diffrender.fit.loss_inputs import LossInputs
from diffrender.fit.objective import Loss


class PointwiseLoss(Loss):
    """Base of the losses that are a mean over pixels and channels of a cost; a pyramid can use them at every level."""

    space: str

    @abstractmethod
    def penalty(self, difference: Tensor) -> Tensor:
        """The cost of each entry of `difference`, same shape: zero at zero, symmetric, differentiable."""

    def __call__(self, comparison: LossInputs) -> Tensor:
        """[n] the mean cost of each view."""
        return mean_per_view(self.penalty(comparison.difference(self.space)))
