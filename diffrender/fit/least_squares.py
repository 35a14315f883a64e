"""A step of a fit as a least-squares problem: its objective, and the curvature of what adds up penalties."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from diffrender.errors import ProgramError, ShapeError
from diffrender.fit.loss_inputs import LossInputs
from diffrender.fit.model import SceneModel
from diffrender.fit.objective import Loss, Objective

# Differences below this share of their mean count as that large: a penalty with a kink has no curvature at it.
LEAST_DIFFERENCE = 0.1
# The most numbers of a Jacobian at a time: views are taken in as many parts as that needs.
MOST_NUMBERS = 1 << 26
# About as many numbers per pixel are in the graph of an image.
NUMBERS_OF_GRAPH = 64
# Random signs that the diagonal of a large J^T W J is estimated with: to about half of each entry.
PROBES = 8
# Rows of a Jacobian that are squared at a time, in float64.
ROWS = 1 << 16
# Of the largest eigenvalue, of numbers scaled to equal information each: less is rounding.
LEAST_EIGENVALUE = 1e-10
# The least share of a value's change that is not determined.
UNDETERMINED = 1e-4


class LeastSquares:
    """The objective of one step about the model's present latents.

    compare: (values by path, indices of views) -> what losses compare. total: () -> the objective now.
    shape: the number of all views, and their height and width. progress: 0..1 of the fit, on which weights of terms may
        depend. before: the objective now.
    """

    def __init__(
        self,
        model: SceneModel,
        objective: Objective,
        compare: Callable[[Mapping[str, Tensor], Tensor], LossInputs],
        total: Callable[[], float],
        shape: tuple[int, int, int],
        progress: float,
        before: float,
    ) -> None:
        self._model = model
        self._compare = compare
        self._total = total
        self._n_views, *size = shape
        self._pixels = math.prod(size)
        self.before = before
        losses = [term for term in objective.terms if isinstance(term.measure, Loss)]
        self._losses = [(term.measure, term.weight_at(progress)) for term in losses]
        self._weights: dict[int, list[tuple[Tensor, Tensor]]] = {}

    @torch.no_grad()
    def total(self) -> float:
        """Return the objective at the model's latents; infinite if it is not finite, or what is built of them fails."""
        try:
            total = self._total()
        except (ProgramError, ShapeError):
            return math.inf
        return total if math.isfinite(total) else math.inf

    def normal_matrix(self, paths: Sequence[str]) -> Tensor:
        """Return J^T W J [K, K] float64 of the latents at `paths`, one after the other: Gauss and Newton's curvature.

        J: the derivatives of all differences that losses penalise, in forward mode. W: for each, the curvature of the
            parabola about zero that touches its penalty (iteratively reweighted least squares; P. Holland and R.
            Welsch, 1977). Terms that add up no penalties have no part in it.
        """
        return sum(rows.T @ (weights[:, None] * rows) for rows, weights, _ in self._rows(paths))  # type: ignore[return-value]

    def product(self, paths: Sequence[str], vector: Tensor) -> Tensor:
        """Return J^T W J vector [K] float64, as normal_matrix does for few numbers: one pass over all views."""

        def weighted(tangents: Sequence[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
            return [weight.view_as(part) * part for weight, part in zip(weights, tangents, strict=True)]

        return self._pull_back(paths, weighted, vector)

    def diagonal(self, paths: Sequence[str]) -> Tensor:
        """Return an estimate [K] float64 of the diagonal of J^T W J, from random signs; always the same ones.

        The squares of J^T W^(1/2) z have it as their mean (C. Bekas, E. Kokiopoulou and Y. Saad, "An estimator for the
        diagonal of a matrix", 2007).
        """
        generator = torch.Generator().manual_seed(0)

        def random(_: Sequence[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
            signs = (
                torch.randint(0, 2, part.shape, generator=generator, device="cpu").to(part) * 2 - 1 for part in weights
            )
            return [part.sqrt() * sign for part, sign in zip(weights, signs, strict=True)]

        return sum(self._pull_back(paths, random).square() for _ in range(PROBES)) / PROBES  # type: ignore[return-value]

    def _pull_back(
        self,
        paths: Sequence[str],
        cotangents: Callable[[Sequence[Tensor], Sequence[Tensor]], list[Tensor]],
        vector: Tensor | None = None,
    ) -> Tensor:
        """Return the sum over views of J^T cotangents(J vector, weights) [K] float64; no vector: one of zeros."""
        latents = {path: latent.detach() for path, latent in self._model.latents.items()}
        sizes = [latents[path].numel() for path in paths]
        at = [latents[path].clone().requires_grad_() for path in paths]
        total = torch.zeros(sum(sizes), dtype=torch.float64, device=at[0].device)
        for number, index in enumerate(self._parts(NUMBERS_OF_GRAPH)):
            if number not in self._weights:
                self._weights[number] = self._weigh(latents, index)
            weights = [part for part, _ in self._weights[number]]
            with torch.enable_grad(), forward_ad.dual_level():
                moved = dict(zip(paths, at, strict=True))
                if vector is not None:
                    parts = vector.split(sizes)
                    moved = {
                        path: forward_ad.make_dual(latent, part.view_as(latent).to(latent.dtype))
                        for (path, latent), part in zip(moved.items(), parts, strict=True)
                    }
                inputs = self._compare(self._model.values_of({**latents, **moved}), index)
                found = [forward_ad.unpack_dual(part) for loss, _ in self._losses for part in loss.differences(inputs)]
            tangents = [torch.zeros_like(part) if slope is None else slope.detach() for part, slope in found]
            primals = [part for part, _ in found]
            pulled = [
                part.to(primal.dtype).view_as(primal)
                for part, primal in zip(cotangents(tangents, weights), primals, strict=True)
            ]
            gradients = torch.autograd.grad(primals, at, pulled, allow_unused=True, materialize_grads=True)
            total += torch.cat([part.reshape(-1).double() for part in gradients])
        return total

    def covariance(self, paths: Sequence[str], gradients: Sequence[Tensor] = ()) -> Covariance:
        """Return the covariance of the latents at `paths`, if what remains of the differences is independent noise.

        The inverse of J^T W J times the variance of the noise, which is estimated from the differences that the latents
        change at all, as many as there are less the number of latents.
        gradients: [K] each, of the same squares against other targets: how far one moves the solution is added as a
            deviation in that direction. Against exact images of the model, that is the error of its images; against
            the targets themselves, it is what keeps the latents from their least squares.
        """
        matrix, squares, count = None, 0.0, 0
        for rows, weights, differences in self._rows(paths):
            part = rows.T @ (weights[:, None] * rows)
            matrix = part if matrix is None else matrix + part
            depends = rows.any(1) & (weights > 0)
            squares += float((weights * differences.square())[depends].sum())
            count += int(depends.sum())
        assert matrix is not None
        found = Covariance.of(matrix, squares / max(1, count - len(matrix)))
        inverse = Covariance.of(matrix, 1.0).matrix
        shifts = [inverse @ gradient for gradient in gradients]
        return found._replace(matrix=found.matrix + sum(shift[:, None] * shift for shift in shifts))

    def _rows(self, paths: Sequence[str]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield rows of J [R, K], with their weights [R] in the objective and the differences [R]; all float64."""
        latents = {path: latent.detach() for path, latent in self._model.latents.items()}
        at = torch.cat([latents[path].reshape(-1) for path in paths])
        for index in self._parts(len(at)):
            weighted = self._weigh(latents, index)

            def differences_at(numbers: Tensor, index: Tensor = index) -> tuple[Tensor, ...]:
                parts = numbers.split([latents[path].numel() for path in paths])
                moved = {
                    path: part.view_as(latents[path]).to(latents[path].dtype)
                    for path, part in zip(paths, parts, strict=True)
                }
                inputs = self._compare(self._model.values_of({**latents, **moved}), index)
                return tuple(part for loss, _ in self._losses for part in loss.differences(inputs))

            for jacobian, (weights, differences) in zip(torch.func.jacfwd(differences_at)(at), weighted, strict=True):
                columns = (jacobian.reshape(-1, len(at)), weights.reshape(-1), differences.reshape(-1))
                for rows, *others in zip(*(column.split(ROWS) for column in columns), strict=True):
                    yield rows.double(), others[0], others[1].double()

    def _parts(self, n_numbers: int) -> Iterator[Tensor]:
        """Yield the indices of views whose Jacobians are taken together."""
        size = max(1, MOST_NUMBERS // (4 * self._pixels * n_numbers))
        yield from torch.arange(self._n_views, device="cpu").split(size)

    def _weigh(self, latents: Mapping[str, Tensor], index: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return the weights of all differences of the views at `index` in the objective, float64, and these."""
        with torch.no_grad():
            inputs = self._compare(self._model.values_of(latents), index)
        found = []
        for loss, weight in self._losses:
            differences = [part.detach() for part in loss.differences(inputs)]
            if not differences:
                continue
            probes = [_away_from_zero(part).requires_grad_() for part in differences]
            gradients = torch.autograd.grad(loss.cost(probes, inputs).sum(), probes)
            share = weight / self._n_views
            found += [
                (share * (grad.double() / probe.detach().double()), part)
                for grad, probe, part in zip(gradients, probes, differences, strict=True)
            ]
        return found


class Covariance(NamedTuple):
    """The covariance of some numbers, [K, K] float64, and an orthonormal basis [K, B] of what is not determined."""

    matrix: Tensor
    undetermined: Tensor

    @staticmethod
    def of(information: Tensor, variance: float) -> Covariance:
        """Return `variance` times the inverse of an information matrix [K, K]."""
        scale = information.diagonal().clamp_min(0).sqrt()
        scale = torch.where(scale > 0, scale, 1)
        values, vectors = torch.linalg.eigh(information / (scale[:, None] * scale))
        is_known = values > LEAST_EIGENVALUE * values.max().clamp_min(torch.finfo(values.dtype).tiny)
        known, unknown = (vectors[:, which] / scale[:, None] for which in (is_known, ~is_known))
        return Covariance(variance * (known / values[is_known]) @ known.T, torch.linalg.qr(unknown).Q)

    def deviations(self, derivative: Tensor) -> Tensor:
        """Return the standard deviations [...] of values with this derivative [..., K]; infinite if not determined."""
        variance = ((derivative @ self.matrix) * derivative).sum(-1).clamp_min(0)
        size = derivative.norm(dim=-1)
        lost = (derivative @ self.undetermined).norm(dim=-1)
        return torch.where(lost > UNDETERMINED * size, torch.inf, variance.sqrt())


def _away_from_zero(differences: Tensor) -> Tensor:
    size = differences.abs()
    known = size > 0
    least = LEAST_DIFFERENCE * size.sum() / known.sum().clamp_min(1)
    least = torch.where(least > 0, least, 1)
    return torch.where(size < least, least.copysign(differences), differences)
