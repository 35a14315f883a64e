from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from ops_soups import (
    assert_all_finite,
    assert_same_bits,
    assert_same_for_any_threads,
    both_backends,
    both_dtypes,
    strided,
)
from support.comparators import assert_gradients_agree
from torch import Tensor

from diffrender.errors import BackendError, ShapeError
from diffrender.ops.affine import affine


def problem(dtype: torch.dtype, n_points: int = 300, n_matrices: int = 3, n_rows: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n_points)
    matrix = torch.randn(n_matrices, n_rows, 4, generator=generator, dtype=dtype)
    return matrix, torch.randn(n_points, 3, generator=generator, dtype=dtype)


def with_gradients(matrix: Tensor, points: Tensor, backend: str) -> tuple[Tensor, Tensor, Tensor]:
    """The moved points, and the gradients of a fixed sum of them."""
    leaves = [part.detach().clone().requires_grad_() for part in (matrix, points)]
    out = affine(*leaves, backend=backend)
    weight = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).reshape(out.shape).cos()
    return (out.detach(), *torch.autograd.grad((out * weight).sum(), leaves))  # type: ignore[return-value]


@both_backends
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    matrix = torch.tensor([[[1, 2, 3, 4], [0, 0, 0, 1]], [[5, 0, 0, 0], [0, 0, 1, -1]]], dtype=dtype).requires_grad_()
    points = torch.tensor([[1, 10, 100], [0, 0, 2]], dtype=dtype).requires_grad_()
    out = affine(matrix, points, backend=backend)
    assert out.tolist() == [[[325, 1], [10, 1]], [[5, 99], [0, 1]]]
    grad_matrix, grad_points = torch.autograd.grad(out[0, :, 0].sum() + 2 * out[1, 0, 1], (matrix, points))
    assert grad_matrix.tolist() == [[[1, 10, 102, 2], [0] * 4], [[0] * 4, [2, 20, 200, 2]]]
    assert grad_points.tolist() == [[1, 2, 3 + 2], [1, 2, 3]]


@both_dtypes
@pytest.mark.parametrize("n_rows", [1, 3, 4])
def test_matches_the_reference_in_value_and_gradient(dtype: torch.dtype, n_rows: int) -> None:
    work = problem(dtype, n_rows=n_rows)
    found, expected = with_gradients(*work, "numba"), with_gradients(*work, "reference")
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(found[0], expected[0], rtol=tolerance, atol=tolerance)
    for actual, wanted in zip(found[1:], expected[1:], strict=True):
        assert_gradients_agree(actual, wanted, relative_l2_at_most=1e-5 if dtype == torch.float32 else 1e-12)


@both_backends
def test_gradients_are_the_derivatives(backend: str) -> None:
    matrix, points = (part.requires_grad_() for part in problem(torch.float64, 5, 2))
    torch.autograd.gradcheck(lambda m, p: affine(m, p, backend=backend), (matrix, points))


@both_backends
def test_only_what_is_wanted_gets_a_gradient(backend: str) -> None:
    matrix, points = problem(torch.float32)
    for wanted in ((True, False), (False, True)):
        m, p = matrix.clone().requires_grad_(wanted[0]), points.clone().requires_grad_(wanted[1])
        affine(m, p, backend=backend).sum().backward()
        assert (m.grad is not None, p.grad is not None) == wanted


def test_same_bits_for_any_number_of_threads() -> None:
    work = problem(torch.float32, 60_000)
    assert_same_for_any_threads(lambda: with_gradients(*work, "numba"))


@both_backends
@both_dtypes
def test_matrices_together_are_the_matrices_one_by_one(backend: str, dtype: torch.dtype) -> None:
    matrix, points = problem(dtype)
    together, grad, _ = with_gradients(matrix, points, backend)
    for n in range(3):
        assert_same_bits(affine(matrix[n : n + 1], points, backend=backend)[0], together[n])
    assert grad.shape == matrix.shape


@both_backends
@both_dtypes
def test_result_does_not_depend_on_what_memory_held(
    backend: str, dtype: torch.dtype, poisoned_memory: Callable[[], AbstractContextManager[None]]
) -> None:
    work = problem(dtype)
    expected = with_gradients(*work, backend)
    with poisoned_memory():
        found = with_gradients(*work, backend)
    assert_same_bits(found, expected)
    assert_all_finite(found)


@both_backends
def test_input_need_not_be_contiguous(backend: str) -> None:
    matrix, points = problem(torch.float32)
    expected = with_gradients(matrix, points, backend)
    assert_same_bits(with_gradients(strided(matrix), strided(points), backend), expected)
    (grad,) = torch.autograd.grad(affine(matrix, points.requires_grad_(), backend=backend).sum(), points)  # expanded
    torch.testing.assert_close(grad, matrix.sum((0, 1))[:3].expand_as(points))


@both_backends
def test_no_points_and_no_matrices(backend: str) -> None:
    matrix, points = problem(torch.float32)
    out, grad_matrix, grad_points = with_gradients(matrix, points[:0], backend)
    assert out.shape == (3, 0, 4) and not bool(grad_matrix.any()) and grad_points.shape == (0, 3)
    out, grad_matrix, grad_points = with_gradients(matrix[:0], points, backend)
    assert out.shape == (0, 300, 4) and grad_matrix.shape == (0, 4, 4) and not bool(grad_points.any())


def test_a_second_derivative_is_refused_and_not_zero() -> None:
    matrix, points = problem(torch.float64)
    out = affine(matrix, points.requires_grad_())
    (grad,) = torch.autograd.grad(out.square().sum(), points, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@both_backends
def test_mistakes_are_named(backend: str) -> None:
    matrix, points = problem(torch.float32, 5)
    cases = {
        r"matrix must have shape \[N, R, 4\]": (matrix[0], points),
        r"matrix must be float32 or float64": (matrix.long(), points),
        r"points must have shape \[V, 3\]": (matrix, points[None]),
        r"one dtype": (matrix, points.double()),
        r"one device": (matrix, points.to("meta")),
    }
    for message, arguments in cases.items():
        with pytest.raises(ShapeError, match=f"affine: .*{message}"):
            affine(*arguments, backend=backend)
    with pytest.raises(BackendError, match="'numba' runs on the CPU"):
        affine(matrix.to("meta"), points.to("meta"), backend="numba")
