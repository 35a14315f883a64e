"""The objective of a fit: a weighted sum of named terms, losses on images and regularisers on the scene."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from diffrender.errors import ConfigError
from diffrender.fit.loss_inputs import LossInputs, require_aov, require_masks
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views

# The share of a fit in which early weights fall to their own.
EARLY_UNTIL = 0.4


class Loss(ABC):
    """Base of all losses on images: a frozen dataclass whose fields are its options in scene.yaml."""

    needs_masks: ClassVar[bool] = False

    @property
    def aovs(self) -> tuple[str, ...]:
        """The AOVs (diffrender.render.aovs) that it compares; colours by default."""
        return ("color",)

    @abstractmethod
    def __call__(self, comparison: LossInputs) -> Tensor:
        """Return one number per view [n], zero if rendering and target are equal; differentiable in the rendering."""

    def differences(self, comparison: LossInputs) -> list[Tensor]:
        """Return the differences [n, ...] whose penalties it adds up, for Gauss-Newton's method; none if it is no sum.

        Differentiable in the rendering, in forward mode too.
        """
        return []

    def cost(self, differences: Sequence[Tensor], comparison: LossInputs) -> Tensor:
        """Return one number per view [n]: a function of each entry of the `differences` alone, that itself of them.

        What else it depends on may be taken as constant: the gradient of the loss is that of calling it.
        """
        raise NotImplementedError


class Regularizer(ABC):
    """Base of all regularisers: a frozen dataclass whose fields are its options in scene.yaml."""

    def bind(self, start: Scene) -> Regularizer:
        """Return the regulariser of a fit that starts at `start`: itself, unless it compares with the start."""
        return self

    @abstractmethod
    def __call__(self, scene: Scene) -> Tensor:
        """Return one number [], at least zero; differentiable in the scene."""


@dataclass(frozen=True)
class Term:
    """One term of the objective: `weight` times a loss (mean over the views of a batch) or a regulariser.

    early: the factor of the weight at the first step; it falls to 1, exponentially, in EARLY_UNTIL of the fit.
    relative_to: the name of an earlier term, the value of which the weight is times; without gradient.
    """

    name: str
    weight: float
    measure: Loss | Regularizer
    early: float = 1.0
    relative_to: str | None = None

    def weight_at(self, progress: float) -> float:
        """Return the weight at `progress` 0..1 of the fit."""
        return self.weight * self.early ** max(0.0, 1 - progress / EARLY_UNTIL)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.early) and self.early > 0):
            raise ConfigError(f"loss.{self.name}: early must be a finite number above 0, got {self.early}")
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ConfigError(f"loss.{self.name}: the weight must be a finite number, at least 0, got {self.weight}")


class Terms(NamedTuple):
    """The values of the objective at one step.

    total: [] weighted sum, which is minimised.
    values: name -> [] unweighted value of each term.
    per_view: name -> [n] unweighted values per view, for the terms that are losses on images.
    """

    total: Tensor
    values: dict[str, Tensor]
    per_view: dict[str, Tensor]


@dataclass(frozen=True)
class Objective:
    """A weighted sum of terms; those with weight 0 are dropped.

    Raises ConfigError for two terms of one name, or if no term has a positive weight.
    """

    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        names = [term.name for term in self.terms]
        if len(set(names)) < len(names):
            raise ConfigError(f"loss: every term must have its own name, got {', '.join(names)}")
        active = tuple(term for term in self.terms if term.weight > 0)
        if not active:
            raise ConfigError("loss: nothing to minimise; give at least one term a weight above 0, as in image: l1")
        for number, term in enumerate(active):
            before = [other.name for other in active[:number]]
            if term.relative_to is not None and term.relative_to not in before:
                raise ConfigError(
                    f"loss.{term.name}: its weight is times {term.relative_to}, which is no term before it"
                )
        object.__setattr__(self, "terms", active)

    def aovs(self) -> tuple[str, ...]:
        """Return the AOVs that a fit has to render for the terms, at least one."""
        needed = [name for term in self.terms if isinstance(term.measure, Loss) for name in term.measure.aovs]
        return tuple(dict.fromkeys(needed)) or ("color",)

    def check(self, views: Views) -> None:
        """Raise ConfigError unless `views` have the masks and AOVs that the terms need."""
        for term in self.terms:
            if isinstance(term.measure, Loss) and term.measure.needs_masks:
                require_masks(views, term.name)
        for name in self.aovs():
            if name != "color":
                require_aov(views, name)

    def weights_at(self, progress: float) -> list[float]:
        """Return the weights of the terms at 0..1 of a fit."""
        return [term.weight_at(progress) for term in self.terms]

    def __call__(self, comparison: LossInputs, scene: Scene, progress: float = 1.0) -> Terms:
        """Evaluate all terms for one batch of views and the scene that they show, with weights at 0..1 of a fit."""
        return self.weighted(comparison, scene, self.weights_at(progress))

    def weighted(self, comparison: LossInputs, scene: Scene, weights: Sequence[float] | Tensor) -> Terms:
        """Evaluate all terms as a call does, with one of `weights` for each."""
        total: Tensor | None = None
        values: dict[str, Tensor] = {}
        per_view: dict[str, Tensor] = {}
        for term, weight in zip(self.terms, weights, strict=True):
            if isinstance(term.measure, Loss):
                per_view[term.name] = term.measure(comparison)
                values[term.name] = per_view[term.name].mean()
            else:
                values[term.name] = term.measure(scene)
            weighted = weight * values[term.name]
            if term.relative_to is not None:
                weighted = weighted * values[term.relative_to].detach()
            total = weighted if total is None else total + weighted
        assert total is not None
        return Terms(total, values, per_view)
