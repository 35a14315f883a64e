"""The linear equations of a damped step of Gauss and Newton, solved at once or by conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

# Of the largest entry of the matrix's diagonal, in square roots: what hardly shows is damped as if it did this much.
LEAST_SCALE = 1e-4
# Conjugate gradients end when what is left is this share of the gradient, or after so many products.
LEFT = 0.05
MOST_PRODUCTS = 40


class DampedStep(NamedTuple):
    """A solution of (A + damping D) change = -gradient, D the diagonal of A.

    change: [K] float64. promised: what the parabola gradient . change + change . A change / 2 falls by; whole: by how
    much it would if the step were not damped, -gradient . change / 2.
    """

    change: Tensor
    promised: float
    whole: float


class NormalEquations(Protocol):
    """What is solved for a step, at any damping."""

    def step(self, damping: float) -> DampedStep:
        """Return the step at this damping."""
        ...

    def promised(self, change: Tensor) -> float:
        """Return what the parabola falls by with any change [K]."""
        ...


class DenseEquations:
    """The equations of few numbers: A is a matrix [K, K], gradient [K]; both float64."""

    def __init__(self, matrix: Tensor, gradient: Tensor) -> None:
        self._scale = _scale_of(matrix.diagonal())
        self._matrix = matrix / (self._scale[:, None] * self._scale)
        self._gradient = gradient / self._scale

    def step(self, damping: float) -> DampedStep:
        """Solve by factoring."""
        identity = torch.eye(len(self._scale), dtype=torch.float64, device=self._scale.device)
        change = -torch.linalg.solve(self._matrix + damping * identity, self._gradient)
        change, whole = change / self._scale, -0.5 * float(change @ self._gradient)
        return DampedStep(change, self.promised(change), whole)

    def promised(self, change: Tensor) -> float:
        """Return it by the matrix."""
        change = change * self._scale
        return -float(change @ self._gradient + 0.5 * change @ self._matrix @ change)


class IterativeEquations:
    """The equations of many numbers, of which only products are known.

    product: [K] -> A [K]. diagonal: about that of A, [K]: it is the preconditioner as well as D.
    Source of conjugate gradients: M. Hestenes and E. Stiefel, "Methods of conjugate gradients", 1952.
    """

    def __init__(self, product: Callable[[Tensor], Tensor], diagonal: Tensor, gradient: Tensor) -> None:
        self._scale = _scale_of(diagonal)
        self._product = product
        self._gradient = gradient / self._scale

    def step(self, damping: float) -> DampedStep:
        """Solve by conjugate gradients from 0 on, to LEFT of the gradient."""
        change, left = torch.zeros_like(self._gradient), -self._gradient
        way, squared = left, float(left @ left)
        enough = LEFT**2 * squared
        for _ in range(MOST_PRODUCTS):
            if not squared > enough:
                break
            product = self._product(way / self._scale) / self._scale + damping * way
            bend = float(way @ product)
            if not bend > 0:  # rounding: nothing more is known that way
                break
            share = squared / bend
            change, left = change + share * way, left - share * product
            before, squared = squared, float(left @ left)
            way = left + squared / before * way
        along = float(change @ self._gradient)
        # A change = -gradient - left - damping change
        bent = -along - float(change @ left) - damping * float(change @ change)
        return DampedStep(change / self._scale, -(along + 0.5 * bent), -0.5 * along)

    def promised(self, change: Tensor) -> float:
        """Return it by one more product."""
        bent = self._product(change) / self._scale
        change = change * self._scale
        return -float(change @ self._gradient + 0.5 * change @ bent)


def _scale_of(diagonal: Tensor) -> Tensor:
    scale = diagonal.clamp_min(0).sqrt()
    return scale.clamp_min(max(LEAST_SCALE * float(scale.max()), torch.finfo(torch.float64).tiny))
