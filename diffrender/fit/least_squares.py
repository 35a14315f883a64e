"""A step of a fit as a least-squares problem: its objective, and the curvature of what adds up penalties."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from diffrender.fit.loss_inputs import LossInputs
from diffrender.fit.model import SceneModel
from diffrender.fit.objective import Loss, Objective, Terms

# Differences below this share of their mean count as that large: a penalty with a kink has no curvature at it.
LEAST_DIFFERENCE = 0.1
# The most numbers of a Jacobian at a time: views are taken in as many parts as that needs.
MOST_NUMBERS = 1 << 26
# Rows of a Jacobian that are squared at a time, in float64.
ROWS = 1 << 16


class LeastSquares:
    """The objective of one step about the model's present latents.

    evaluate: (values by path, indices of views or None for all) -> (what losses compare, terms).
    shape: the number of all views, and their height and width. progress: 0..1 of the fit, on which weights of terms may
        depend. before: the objective now.
    """

    def __init__(
        self,
        model: SceneModel,
        objective: Objective,
        evaluate: Callable[[Mapping[str, Tensor], Tensor | None], tuple[LossInputs, Terms]],
        shape: tuple[int, int, int],
        progress: float,
        before: float,
    ) -> None:
        self._model = model
        self._evaluate = evaluate
        self._n_views, *size = shape
        self._pixels = math.prod(size)
        self.before = before
        losses = [term for term in objective.terms if isinstance(term.measure, Loss)]
        self._losses = [(term.measure, term.weight_at(progress)) for term in losses]

    @torch.no_grad()
    def total(self) -> float:
        """Return the objective at the model's latents; infinite if it is not finite."""
        total = float(self._evaluate(self._model.values(), None)[1].total)
        return total if math.isfinite(total) else math.inf

    def normal_matrix(self, paths: Sequence[str]) -> Tensor:
        """Return J^T W J [K, K] float64 of the latents at `paths`, one after the other: Gauss and Newton's curvature.

        J: the derivatives of all differences that losses penalise, in forward mode. W: for each, the curvature of the
            parabola about zero that touches its penalty (iteratively reweighted least squares; P. Holland and R.
            Welsch, 1977). Terms that add up no penalties have no part in it.
        """
        latents = {path: latent.detach() for path, latent in self._model.latents.items()}
        at = torch.cat([latents[path].reshape(-1) for path in paths])
        matrix = torch.zeros(len(at), len(at), dtype=torch.float64, device=at.device)
        for index in self._parts(len(at)):
            weights = self._weights(latents, index)

            def differences_at(numbers: Tensor, index: Tensor = index) -> tuple[Tensor, ...]:
                parts = numbers.split([latents[path].numel() for path in paths])
                moved = {path: part.view_as(latents[path]) for path, part in zip(paths, parts, strict=True)}
                inputs, _ = self._evaluate(self._model.values_of({**latents, **moved}), index)
                return tuple(part for loss, _ in self._losses for part in loss.differences(inputs))

            for jacobian, weight in zip(torch.func.jacfwd(differences_at)(at), weights, strict=True):
                rows, weight = jacobian.reshape(-1, len(at)), weight.reshape(-1, 1)
                for first in range(0, len(rows), ROWS):
                    some = rows[first : first + ROWS].double()
                    matrix += some.T @ (weight[first : first + ROWS] * some)
        return matrix

    def _parts(self, n_numbers: int) -> Iterator[Tensor]:
        """Yield the indices of views whose Jacobians are taken together."""
        size = max(1, MOST_NUMBERS // (4 * self._pixels * n_numbers))
        yield from torch.arange(self._n_views, device="cpu").split(size)

    def _weights(self, latents: Mapping[str, Tensor], index: Tensor) -> list[Tensor]:
        """Return the weights of all differences in the views at `index`, in the objective; float64, no gradient."""
        with torch.no_grad():
            inputs, _ = self._evaluate(self._model.values_of(latents), index)
        found = []
        for loss, weight in self._losses:
            probes = [_away_from_zero(part.detach()).requires_grad_() for part in loss.differences(inputs)]
            if not probes:
                continue
            costs = loss.cost(probes, inputs).sum()
            share = weight / self._n_views
            gradients = torch.autograd.grad(costs, probes)
            found += [share * (grad.double() / probe.detach().double()) for grad, probe in zip(gradients, probes, strict=True)]
        return found


def _away_from_zero(differences: Tensor) -> Tensor:
    size = differences.abs()
    known = size > 0
    least = LEAST_DIFFERENCE * size.sum() / known.sum().clamp_min(1)
    least = torch.where(least > 0, least, 1)
    return torch.where(size < least, least.copysign(differences), differences)
