"""scipy_problem: SciPy recovers a pose and a colour from an image by our gradients and Jacobians."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import approx_fprime, least_squares, minimize
from support.small_image import SIZE, ball_image
from torch import Tensor

from diffrender.errors import ProgramError, ShapeError
from diffrender.programs.bridges import scipy_problem

TRUE = {"position": torch.tensor([0.15, -0.1, 0.3]), "color": torch.tensor([0.9, 0.5, 0.2])}
START = {"position": torch.zeros(3), "color": torch.full((3,), 0.4)}
TARGET = ball_image(**TRUE)


def residuals(position: Tensor, color: Tensor) -> Tensor:
    return ball_image(position, color) - TARGET


def test_minimize_recovers_position_and_color() -> None:
    problem = scipy_problem(lambda position, color: residuals(position, color).square().mean(), START)
    assert problem.x0.dtype == np.float64 and problem.x0.tolist() == pytest.approx([0, 0, 0, 0.4, 0.4, 0.4])
    found = minimize(problem.fun, problem.x0, jac=problem.jac, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-9})
    for name, value in problem.values(found.x).items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, TRUE[name], atol=0.01, rtol=0)


def test_least_squares_recovers_them_by_forward_mode() -> None:
    problem = scipy_problem(residuals, START)
    jacobian = problem.jac(problem.x0)
    assert jacobian.shape == (SIZE * SIZE * 4, 6) and problem.fun(problem.x0).shape == (SIZE * SIZE * 4,)
    found = least_squares(problem.fun, problem.x0, problem.jac, xtol=1e-5)
    for name, value in problem.values(found.x).items():
        torch.testing.assert_close(value, TRUE[name], atol=2e-3, rtol=0)
    assert found.nfev < 20


def test_derivatives_are_those_of_the_function() -> None:
    shapes = {"a": torch.rand(2, 3, dtype=torch.float64), "b": torch.tensor(0.7, dtype=torch.float64)}

    def rows(a: Tensor, b: Tensor) -> Tensor:
        return a.sin() @ a.T * b

    for function in (rows, lambda a, b: rows(a, b).square().sum()):
        problem = scipy_problem(function, shapes)
        x = problem.x0 + 0.1
        expected = np.array(approx_fprime(x, problem.fun, 1e-7))
        np.testing.assert_allclose(problem.jac(x), expected, atol=1e-5)
        assert np.shape(problem.fun(x)) == np.shape(expected)[:-1]
    torch.testing.assert_close(problem.values(x)["a"], shapes["a"] + 0.1)


def test_value_and_gradient_at_one_place_cost_one_evaluation() -> None:
    runs = []

    def function(x: Tensor) -> Tensor:
        runs.append(1)
        return x.square().sum()

    problem = scipy_problem(function, {"x": torch.ones(2)})
    runs.clear()
    x = np.array([1.0, 2.0])
    assert problem.fun(x) == 5 and problem.jac(x).tolist() == [2, 4] and len(runs) == 1
    problem.jac(x)[:] = 0  # SciPy owns what it gets, and changes its vectors in place
    assert problem.jac(x).tolist() == [2, 4] and len(runs) == 1
    kept = problem.values(x)["x"]
    x[0] = 3
    assert problem.fun(x) == 13 and problem.jac(x).tolist() == [6, 4] and len(runs) == 2
    assert kept.tolist() == [1, 2]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"n must be a tensor of floats, got torch\.int64"):
        scipy_problem(torch.sin, {"n": torch.tensor(3)})
    with pytest.raises(ShapeError, match="must have at least one value"):
        scipy_problem(torch.sin, {})
    for function, got in ((lambda x: 1.0, "float"), (torch.Tensor.long, "torch.int64"), (torch.fft.fft, "complex64")):
        with pytest.raises(ShapeError, match=f"the function must return a tensor of floats, got .*{got}"):
            scipy_problem(lambda x, function=function: function(x), {"x": torch.ones(2)})
    lost = scipy_problem(lambda x: x.detach().sum(), {"x": torch.ones(2)})
    with pytest.raises(ProgramError, match=r"the result has no derivative.*\.detach\(\)"):
        lost.fun(lost.x0)
