"""scipy_problem: a function of tensors as what SciPy's minimize and least_squares ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffrender.errors import ProgramError, ShapeError


class ScipyProblem(NamedTuple):
    """A function of one vector.

    x0: [P] float64, where it starts. fun: [P] -> a float, or residuals [R]. jac: [P] -> the gradient [P], or the
        Jacobian [R, P]. values: [P] -> the tensors by name that the vector stands for.
    """

    x0: np.ndarray
    fun: Callable[[np.ndarray], float | np.ndarray]
    jac: Callable[[np.ndarray], np.ndarray]
    values: Callable[[np.ndarray], dict[str, Tensor]]


def scipy_problem(function: Callable[..., Tensor], start: Mapping[str, Tensor]) -> ScipyProblem:
    """Return a function of tensors by name, such as of a pose and a colour, for SciPy's optimisers.

        problem = bridges.scipy_problem(lambda pose, color: render(pose, color) - target, start)
        found = scipy.optimize.least_squares(problem.fun, problem.x0, problem.jac)
        pose = problem.values(found.x)["pose"]

    function: of tensors by name, in the shapes, dtypes and places of `start`. If it returns a single number, that is to
        be minimised, and its gradient is found in reverse mode: minimize(problem.fun, problem.x0, jac=problem.jac).
        Anything else are residuals, whose Jacobian is found in forward mode, which costs the more the more numbers
        `start` has, but not for more residuals: least_squares(problem.fun, problem.x0, problem.jac).

    Raises ShapeError if nothing is to be found, or values or results are not floating-point, such as complex ones.
    """
    for name, value in start.items():
        if not isinstance(value, Tensor) or not value.dtype.is_floating_point:
            got = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise ShapeError(f"scipy_problem: {name} must be a tensor of floats, got {got}")
    if not start:
        raise ShapeError("scipy_problem: start must have at least one value, got none")
    sizes = [value.numel() for value in start.values()]

    def of_vector(vector: Tensor) -> dict[str, Tensor]:
        parts = vector.split(sizes)
        return {name: part.reshape(v.shape).to(v) for part, (name, v) in zip(parts, start.items(), strict=True)}

    def run(vector: Tensor) -> Tensor:
        found = function(**of_vector(vector))
        if not isinstance(found, Tensor) or not found.dtype.is_floating_point:
            got = found.dtype if isinstance(found, Tensor) else type(found).__name__
            raise ShapeError(f"scipy_problem: the function must return a tensor of floats, got {got}")
        return found.reshape(-1) if found.dim() else found

    @lru_cache(maxsize=1)  # SciPy asks for the value and then for the gradient, at the same place
    def value_and_gradient(x: bytes) -> tuple[float, np.ndarray]:
        vector = vector_of(np.frombuffer(x))
        with torch.enable_grad():
            value = run(vector.requires_grad_())
        if not value.requires_grad:
            raise ProgramError(
                "scipy_problem: the result has no derivative: it does not depend on `start`, or lost it on the way, as"
                " by .detach() or .item()"
            )
        return float(value.detach()), torch.autograd.grad(value, vector)[0].numpy()

    x0 = torch.cat([value.detach().reshape(-1).double().cpu() for value in start.values()])
    with torch.no_grad():
        is_number = run(x0).dim() == 0

    def fun(x: np.ndarray) -> float | np.ndarray:
        if is_number:
            return value_and_gradient(np.asarray(x, np.float64).tobytes())[0]
        with torch.no_grad():
            return run(vector_of(x)).double().cpu().numpy()

    def jac(x: np.ndarray) -> np.ndarray:
        if is_number:
            return value_and_gradient(np.asarray(x, np.float64).tobytes())[1].copy()
        return torch.func.jacfwd(run)(vector_of(x)).detach().double().cpu().numpy()

    return ScipyProblem(x0.numpy(), fun, jac, lambda x: of_vector(vector_of(x)))


def vector_of(x: np.ndarray) -> Tensor:
    """Return a vector of SciPy as a tensor of its own."""
    return torch.tensor(np.asarray(x, np.float64))
