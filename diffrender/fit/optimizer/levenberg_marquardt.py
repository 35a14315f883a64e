"""Levenberg-Marquardt: damped steps of Gauss and Newton."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from diffrender.fit.model import SceneModel
from diffrender.fit.optimizer.fit_optimizer import FitOptimizer, ParamSettings
from diffrender.fit.optimizer.normal_equations import DenseEquations, IterativeEquations, NormalEquations

# Of more, the Jacobian would take gigabytes, and its square be slow to factor: there are only products with it.
MOST_OF_MATRIX = 1000
FIRST_DAMPING = 1e-3
LEAST_DAMPING = 1e-9
# Trials of one step, each with more damping, before the fit has converged.
MOST_TRIALS = 12
# What counts as little gain, as a share of the objective; HARD_GAIN where less damping gained nothing, and HARD or more
# gains at last: what is left are noise and the image's own small jumps.
LEAST_GAIN = 1e-3
HARD, HARD_GAIN = 1.0, 1e-2
# A step that gains more than this many times what it promised is too short, and doubled at most so often, as long as
# this share of the greatest objective is left: nearer the solution the image's jumps gain what was not promised.
SHORT = 1.2
FAR = 0.01
MOST_DOUBLINGS = 4
# One that promises less is not tried: images are float32.
LEAST_PROMISE = 1e-7
# Of the last steps, which the gradient alone judges; each must promise less than this share of what the one before did,
# and less than LEAST_GAIN of the objective, or NEAR where steps that it judges gain little.
POLISHING_DAMPING = 1e-7
CONTRACTION = 0.5
NEAR = 0.25
# Of the objective: another one than the last step left, by more, is of other images or edges.
SAME = 1e-6


class Problem(Protocol):
    """What a step asks about the model's latents: the objective before and at any, and its curvature (LeastSquares)."""

    before: float

    def total(self) -> float:
        """Return the objective; infinite if it is not finite."""
        ...

    def normal_matrix(self, paths: list[str]) -> Tensor:
        """Return J^T W J [K, K] of the latents at `paths`."""
        ...

    def product(self, paths: list[str], vector: Tensor) -> Tensor:
        """Return J^T W J vector [K]."""
        ...

    def diagonal(self, paths: list[str]) -> Tensor:
        """Return about the diagonal of J^T W J [K]."""
        ...


class LevenbergMarquardt(FitOptimizer):
    """Steps that solve (J^T W J + damping D) change = -gradient, D its diagonal, accepted if the objective falls.

    No number of a latent goes farther than its parametrisation's reach in one step. A step that gains more than it
    promised is doubled for as long as the objective falls: outlines that are pixels apart change an image by as much as
    they are apart, where least squares take that for a square, and each step for a fraction of the way.
    The gradient is that of the whole objective; its curvature is that of the losses that add up penalties of
    differences; of more than MOST_OF_MATRIX numbers, only its products are computed, for conjugate gradients. Learning
    rates, schedules and variants of Adam mean nothing here. `pull` of a value adds pull / 2 |latent - start|^2 to the
    objective: a Gaussian prior of variance 1 / pull.
    The last steps of few numbers are those of Gauss and Newton, for as long as each promises less than the one before:
    where little is left to gain, noise times the image's own small jumps hides it from the objective, and the gradient
    is smooth. A thousandth of the objective may be many standard deviations, if pixels are many.

    damping: of the next step; it follows how much of the promised gain was had (H. Nielsen, "Damping parameter in
        Marquardt's method", 1999). converged: no further step would gain anything.

    Raises ConfigError as FitOptimizer does.
    """

    def __init__(self, model: SceneModel, settings: Mapping[str, ParamSettings], steps: int) -> None:
        super().__init__(model, settings, steps)
        self.damping, self._growth, self._promised, self._left = FIRST_DAMPING, 2.0, math.inf, math.inf
        self._greatest, self._settles = 0.0, False

    def step(self, problem: Problem | None = None) -> None:
        """Update the latents that have gradients; where nothing is gained they stay, and the fit has converged."""
        assert problem is not None
        if self.converged:  # on smaller images, or softer edges
            self.damping, self._growth, self._promised, self.converged = FIRST_DAMPING, 2.0, math.inf, False
        latents = {path: latent for path, latent in self._model.latents.items() if latent.grad is not None}
        if not latents:  # all have stopped
            self.converged = True
            return
        start = {path: latent.detach().clone() for path, latent in latents.items()}
        gradient = torch.cat([_flat(latent.grad) for latent in latents.values()])  # type: ignore[arg-type]
        pull = torch.cat([torch.full_like(_flat(latent), self._settings[path].pull) for path, latent in start.items()])
        gradient = gradient + pull * torch.cat([_flat(self._apart(path, latent)) for path, latent in start.items()])
        equations = _equations(problem, list(latents), pull, gradient)

        reach = torch.cat(
            [torch.full_like(_flat(latent), self._model.parametrization(path).reach) for path, latent in start.items()]
        )

        before = problem.before + self._prior(start)
        self._greatest = max(self._greatest, before)
        if not abs(before - self._left) <= SAME * before:
            self._promised, self._settles = math.inf, False  # those of smaller images say nothing of larger ones
        is_few, settled = len(gradient) <= MOST_OF_MATRIX, self._settles
        if is_few and self._polish(problem, latents, start, equations, reach, before):
            return
        damping = self.damping
        for _ in range(MOST_TRIALS):
            if is_few and self.damping >= HARD and not self._settles:
                self._settles = True
                if self._polish(problem, latents, start, equations, reach, before):
                    self.damping, self._growth = damping, 2.0
                    return
            change, promised, _ = equations.step(self.damping)
            if bool((change.abs() > reach).any()):
                change = change.clamp(-reach, reach)
                promised = equations.promised(change)
            if not promised > LEAST_PROMISE * before:
                break
            gain = self._gain(problem, latents, start, change, before)
            if gain > 0:
                had = self._lengthen(problem, latents, start, change, reach, before, gain, promised)
                is_hard = is_few and self.damping >= HARD and (damping < HARD or settled)
                is_little = had < (HARD_GAIN if is_hard else LEAST_GAIN) * before
                self.converged = is_little and (settled or not is_few)
                self._settles, self._left = is_little, before - had
                # Nielsen's rule: damping / 3 where the promise was kept, twice as much where hardly anything was.
                self.damping = max(LEAST_DAMPING, self.damping * max(1 / 3, 1 - (2 * gain / promised - 1) ** 3))
                self._growth = 2.0
                return
            self.damping *= self._growth
            self._growth *= 2
        self._move(latents, start, torch.zeros_like(gradient))
        self.converged = True

    def _lengthen(
        self, problem: Problem, latents: Mapping[str, Tensor], start: Mapping[str, Tensor], change: Tensor,
        reach: Tensor, before: float, gain: float, promised: float,
    ) -> float:  # fmt: skip
        """Double a step that was too short for as long as that gains more; return what was gained."""
        for _ in range(MOST_DOUBLINGS if gain > SHORT * promised and before > FAR * self._greatest else 0):
            longer = (2 * change).clamp(-reach, reach)
            further = self._gain(problem, latents, start, longer, before)
            if not further > gain:
                self._move(latents, start, change)
                break
            change, gain = longer, further
        return gain

    def _gain(
        self,
        problem: Problem,
        latents: Mapping[str, Tensor],
        start: Mapping[str, Tensor],
        change: Tensor,
        before: float,
    ) -> float:
        """Move the latents by `change`; return by how much the objective falls."""
        self._move(latents, start, change)
        return before - (problem.total() + self._prior(latents))

    def _polish(
        self,
        problem: Problem,
        latents: Mapping[str, Tensor],
        start: Mapping[str, Tensor],
        equations: NormalEquations,
        reach: Tensor,
        before: float,
    ) -> bool:
        """Take a whole step of Gauss and Newton if the solution is near; return whether that is so."""
        step = equations.step(POLISHING_DAMPING)
        near = (NEAR if self._settles else LEAST_GAIN) * before
        most = min(near, CONTRACTION * self._promised)
        if not LEAST_PROMISE * before < step.whole < most or bool((step.change.abs() > reach).any()):
            return False
        self._move(latents, start, step.change)
        left = problem.total() + self._prior(latents)
        if not left <= before + near:  # not near after all, or NaN
            self._move(latents, start, torch.zeros_like(step.change))
            return False
        self._promised, self._left = step.whole, left
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return FitOptimizer's, and the damping."""
        own = {
            "damping": self.damping,
            "growth": self._growth,
            "promised": self._promised,
            "left": self._left,
            "greatest": self._greatest,
            "settles": self._settles,
            "converged": self.converged,
        }
        return {**super().state_dict(), "levenberg_marquardt": own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load a state of `state_dict`. Raises FitError as FitOptimizer does."""
        super().load_state_dict(state)
        own = state["levenberg_marquardt"]
        self.damping, self._growth = own["damping"], own["growth"]
        self._promised, self._left, self.converged = own["promised"], own["left"], own["converged"]
        self._greatest, self._settles = own.get("greatest", 0.0), own.get("settles", False)

    def _apart(self, path: str, latent: Tensor) -> Tensor:
        """Return how far a latent is from what it is pulled to."""
        return latent - self._starts[path] if path in self._starts else torch.zeros_like(latent)

    def _prior(self, latents: Mapping[str, Tensor]) -> float:
        """Return what the priors add to the objective."""
        apart = {path: self._apart(path, latent.detach()).double() for path, latent in latents.items()}
        return math.fsum(self._settings[path].pull / 2 * float((part * part).sum()) for path, part in apart.items())

    @torch.no_grad()
    def _move(self, latents: Mapping[str, Tensor], start: Mapping[str, Tensor], change: Tensor) -> None:
        """Set the latents to what they were, moved by `change` [K]."""
        parts = change.split([latent.numel() for latent in latents.values()])
        for (path, latent), part in zip(latents.items(), parts, strict=True):
            latent.copy_(start[path] + part.view_as(latent).to(latent.dtype))


def _flat(tensor: Tensor) -> Tensor:
    return tensor.detach().reshape(-1).double()


def _equations(problem: Problem, paths: list[str], pull: Tensor, gradient: Tensor) -> NormalEquations:
    if len(gradient) <= MOST_OF_MATRIX:
        return DenseEquations(problem.normal_matrix(paths) + pull.diag(), gradient)

    def product(vector: Tensor) -> Tensor:
        return problem.product(paths, vector) + pull * vector

    return IterativeEquations(product, problem.diagonal(paths) + pull, gradient)
