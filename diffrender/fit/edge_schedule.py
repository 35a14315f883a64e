"""Edge models over the steps of a fit: fixed, or soft edges that sharpen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from diffrender.programs.relaxed.anneal import Anneal
from diffrender.render.edge_model import EdgeModel
from diffrender.render.edge_models.soft import Soft


@dataclass(frozen=True)
class FixedEdges:
    """The same edge model at every step."""

    edges: EdgeModel
    until: ClassVar[int] = 0

    def at(self, step: int) -> EdgeModel:
        """Return the edge model of `step`, counted from 0."""
        return self.edges


@dataclass(frozen=True)
class EdgeSchedule:
    """Soft edges whose sigma decays exponentially, then another edge model.

    first: the edge model of step 0.
    last_sigma: sigma in pixels that is reached at step `until`.
    until: the first step with `then`, at least 1.
    then: the edge model of the rest of the fit, and of its scores and pictures.
    """

    first: Soft
    last_sigma: float
    until: int
    then: EdgeModel

    def __post_init__(self) -> None:
        Soft(self.last_sigma)
        Anneal(self.first.sigma, self.last_sigma, self.until)

    def at(self, step: int) -> EdgeModel:
        """Return the edge model of `step`, counted from 0."""
        if step >= self.until:
            return self.then
        return Soft(Anneal(self.first.sigma, self.last_sigma, self.until).at(step), self.first.samples)
