"""Pointwise losses: the mean of a penalty on each value."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffrender.errors import ConfigError
from diffrender.fit.loss_inputs import LossInputs, check_space
from diffrender.fit.objective import Loss
from diffrender.imaging.penalties import charbonnier, huber, l1, l2

# More would let what is wrong decide what is right.
MOST_TRIMMED = 0.5


class PointwiseLoss(Loss):
    """Base of losses that average a penalty over pixels and channels: dataclasses with a `space` and a `trim`.

    space: "srgb", "linear" or "log", the space in which colours are compared.
    trim: the share, 0..0.5, of the known pixels of a view that differ which does not count: those of the largest
        penalty. What passed through some of the pictures has no say then, but nor has what the rendering lacks most.
        Least trimmed squares, by P. Rousseeuw (1984), for any penalty.
    """

    space: str
    trim: float

    def __post_init__(self) -> None:
        name = type(self).__name__.lower()
        check_space(name, self.space)
        if not 0 <= self.trim <= MOST_TRIMMED:
            raise ConfigError(f"{name}: trim must be in 0..{MOST_TRIMMED}, got {self.trim}")

    @abstractmethod
    def penalty(self, difference: Tensor) -> Tensor:
        """Return the penalty of each entry of `difference`, same shape: zero at zero, symmetric, differentiable."""

    def kernel(self) -> dict[str, Any] | None:
        """Return the penalty as options of ops.compare_colors, which takes one pass over the images, if it has it."""
        return None

    def __call__(self, comparison: LossInputs) -> Tensor:
        """Return the mean penalty of each view [n]."""
        options = self.kernel()
        if self.trim > 0:
            comparison = comparison.weighted(self._kept(comparison, options))
        if options is not None:
            return comparison.mean_penalty(self.space, **options)
        return comparison.mean(self.penalty(comparison.difference(self.space)))

    def differences(self, comparison: LossInputs) -> list[Tensor]:
        """Return those of the colours, [n, H, W, 3]."""
        return [comparison.difference(self.space)]

    def cost(self, differences: Sequence[Tensor], comparison: LossInputs) -> Tensor:
        """Return the mean penalty of each view [n]; what is trimmed is that of the comparison."""
        if self.trim > 0:
            comparison = comparison.weighted(self._kept(comparison, self.kernel()))
        return comparison.mean(self.penalty(differences[0]))

    @torch.no_grad()
    def _kept(self, comparison: LossInputs, options: dict[str, Any] | None) -> Tensor:
        """Return the weights [n, H, W] of the pixels, 0 for the share of their sum that is trimmed."""
        # On a GPU pixels would be programs.
        if options is None or comparison.output.rgba.device.type != "cpu":
            costs = self.penalty(comparison.difference(self.space)).mean(3)
        else:
            costs = comparison.penalties(self.space, **options)
        weights = comparison.views.weights
        kept = torch.ones_like(costs) if weights is None else weights.clone()
        # A background that agrees is none of what may differ: an object smaller than `trim` of a view is not lost.
        for view, cost, weight in zip(kept, costs, costs if weights is None else weights, strict=True):
            differs = (cost > 0) & (weight > 0)
            if bool(differs.any()):
                # The cost at which what is kept is complete; of equal ones, none is trimmed, nor a NaN, to be seen.
                view[cost > _quantile(cost[differs], None if weights is None else weight[differs], 1 - self.trim)] = 0
        return kept


def _quantile(values: Tensor, weights: Tensor | None, share: float) -> Tensor:
    """Return the value [] up to which `share` of the weights of `values` [K] is complete."""
    if weights is None:
        return values.kthvalue(math.ceil(share * len(values))).values
    ascending, order = values.sort(stable=True)
    sums = weights.double()[order].cumsum(0)
    return ascending[int((sums < share * sums[-1]).sum().clamp_max(len(sums) - 1))]


@dataclass(frozen=True)
class L1(PointwiseLoss):
    """Mean absolute difference: a few wrong pixels, such as highlights, do not dominate."""

    space: str = "srgb"
    trim: float = 0.0

    def penalty(self, difference: Tensor) -> Tensor:
        """Return |d|."""
        return l1(difference)

    def kernel(self) -> dict[str, Any]:
        """Return its name."""
        return {"penalty": "l1"}


@dataclass(frozen=True)
class L2(PointwiseLoss):
    """Mean squared difference, as in PSNR; the gradient fades as colours agree."""

    space: str = "srgb"
    trim: float = 0.0

    def penalty(self, difference: Tensor) -> Tensor:
        """Return d^2."""
        return l2(difference)

    def kernel(self) -> dict[str, Any]:
        """Return its name."""
        return {"penalty": "l2"}


@dataclass(frozen=True)
class Huber(PointwiseLoss):
    """Quadratic below `delta`, linear above (P. Huber, Robust Estimation of a Location Parameter, 1964).

    Departs from the source by a factor 1 / delta, so that large differences cost as in l1 and weights carry over.

    delta: the difference, above 0, where the quadratic part ends.
    """

    delta: float = 0.1
    space: str = "srgb"
    trim: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.delta) and self.delta > 0):
            raise ConfigError(f"huber: delta must be a finite number above 0, got {self.delta}")
        super().__post_init__()

    def penalty(self, difference: Tensor) -> Tensor:
        """Return d^2 / (2 delta) where |d| < delta, else |d| - delta / 2."""
        return huber(difference, self.delta)

    def kernel(self) -> dict[str, Any]:
        """Return its name and delta."""
        return {"penalty": "huber", "delta": self.delta}


@dataclass(frozen=True)
class Charbonnier(PointwiseLoss):
    """Absolute difference with a smooth bottom: beyond `epsilon` a few wrong pixels do not dominate.

    epsilon: the difference, above 0, around which it turns from quadratic to absolute.
    """

    epsilon: float = 0.01
    space: str = "srgb"
    trim: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.epsilon) and self.epsilon > 0):
            raise ConfigError(f"charbonnier: epsilon must be a finite number above 0, got {self.epsilon}")
        super().__post_init__()

    def penalty(self, difference: Tensor) -> Tensor:
        """Return sqrt(d^2 + epsilon^2) - epsilon."""
        return charbonnier(difference, self.epsilon)

    def kernel(self) -> dict[str, Any]:
        """Return its name and epsilon."""
        return {"penalty": "charbonnier", "delta": self.epsilon}


POINTWISE: dict[str, type[PointwiseLoss]] = {"l1": L1, "l2": L2, "huber": Huber, "charbonnier": Charbonnier}
"""The losses of images and, with their defaults, the penalties of pyramid levels and of AOVs."""
