"""A loss on image pyramids: colours compared at several resolutions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.errors import ConfigError
from diffrender.fit.deterministic_reduce import mean_per_view
from diffrender.fit.loss_inputs import LossInputs, check_space
from diffrender.fit.losses.pointwise import POINTWISE
from diffrender.fit.objective import Loss
from diffrender.imaging.filters import pyramid


@dataclass(frozen=True)
class Pyramid(Loss):
    """The mean of one loss over the levels of an image pyramid, each half the size of the one before.

    Of images with weights, a pixel of a coarse level is the mean of what is known of it, and counts by its share.

    The coarse levels give gradients to shapes that do not overlap yet; the fine ones give the detail.

    of: the loss at each level, a name in POINTWISE, with its default options.
    levels: at least 1; fewer are used if the image shrinks to one pixel.
    space: "srgb", "linear" or "log", the space in which colours are compared and averaged.
    """

    of: str = "l1"
    levels: int = 4
    space: str = "srgb"

    def __post_init__(self) -> None:
        if self.of not in POINTWISE:
            raise ConfigError(f"pyramid: of must be one of {', '.join(POINTWISE)}, got {self.of!r}")
        if self.levels < 1:
            raise ConfigError(f"pyramid: levels must be at least 1, got {self.levels}")
        check_space("pyramid", self.space)

    def __call__(self, comparison: LossInputs) -> Tensor:
        """Return [n]: the mean over levels of the mean over pixels and channels."""
        return self.cost(self.differences(comparison), comparison)

    def differences(self, comparison: LossInputs) -> list[Tensor]:
        """Return those of the colours at each level, [n, H, W, 3]."""
        # Averaging is linear: the pyramid of the difference is the difference of the pyramids, at half the cost.
        differences, weights = comparison.difference(self.space), comparison.views.weights
        if weights is None:
            return list(pyramid(differences, self.levels))
        sums = pyramid(weights[..., None] * differences, self.levels)
        known = pyramid(weights[..., None], self.levels)
        return [part / torch.where(share > 0, share, 1) for part, share in zip(sums, known, strict=True)]

    def cost(self, differences: Sequence[Tensor], comparison: LossInputs) -> Tensor:
        """Return [n]: the mean over levels of the mean penalty."""
        penalty, weights = POINTWISE[self.of]().penalty, comparison.views.weights
        if weights is None:
            costs = [mean_per_view(penalty(level)) for level in differences]
        else:
            known = pyramid(weights[..., None], self.levels)
            costs = [
                mean_per_view(penalty(level), share[..., 0]) for level, share in zip(differences, known, strict=True)
            ]
        return sum(costs[1:], costs[0]) / len(costs)
