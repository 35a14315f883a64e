from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from support.comparators import assert_gradients_agree
from support.triangle_soups import (
    assert_all_finite,
    assert_same_bits,
    assert_same_for_any_threads,
    both_backends,
    both_dtypes,
    strided,
)
from torch import Tensor

from diffrender.errors import BackendError, ShapeError
from diffrender.ops.interpolate import interpolate

Work = tuple[Tensor, Tensor, Tensor, Tensor]


def problem(dtype: torch.dtype, n_points: int = 300, n_channels: int = 4) -> Work:
    generator = torch.Generator().manual_seed(n_points)
    values = torch.randn(50, n_channels, generator=generator, dtype=dtype)
    faces = torch.randint(50, (80, 3), generator=generator)
    bary = torch.rand(n_points, 3, generator=generator, dtype=dtype)
    return values, faces, torch.randint(80, (n_points,), generator=generator), bary / bary.sum(1, keepdim=True)


def with_gradients(work: Work, backend: str) -> tuple[Tensor, Tensor, Tensor]:
    """The values, and the gradients of a fixed sum of them with respect to values and bary."""
    values, bary = (work[i].detach().clone().requires_grad_() for i in (0, 3))
    out = interpolate(values, work[1], work[2], bary, backend=backend)
    weight = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).reshape(out.shape).cos()
    return (out.detach(), *torch.autograd.grad((out * weight).sum(), (values, bary)))  # type: ignore[return-value]


@both_backends
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    values = torch.tensor([[1.0, 10], [2, 20], [4, 40], [8, 80]], dtype=dtype).requires_grad_()
    faces, face_id = torch.tensor([[0, 1, 2], [3, 2, 1]]), torch.tensor([1, 0])
    bary = torch.tensor([[0.5, 0.25, 0.25], [1, 0, 0]], dtype=dtype).requires_grad_()
    out = interpolate(values, faces, face_id, bary, backend=backend)
    assert out.tolist() == [[4 + 1 + 0.5, 40 + 10 + 5], [1, 10]]
    grad_values, grad_bary = torch.autograd.grad(
        (out * torch.tensor([[1.0, 0], [2, 1]], dtype=dtype)).sum(), (values, bary)
    )
    assert grad_values.tolist() == [[2, 1], [0.25, 0], [0.25, 0], [0.5, 0]]
    assert grad_bary.tolist() == [[8, 4, 2], [2 + 10, 4 + 20, 8 + 40]]


@both_dtypes
@pytest.mark.parametrize("n_channels", [1, 3, 7])
def test_matches_the_reference_in_value_and_gradient(dtype: torch.dtype, n_channels: int) -> None:
    work = problem(dtype, n_channels=n_channels)
    found, expected = with_gradients(work, "numba"), with_gradients(work, "reference")
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(found[0], expected[0], rtol=tolerance, atol=tolerance)
    for actual, wanted in zip(found[1:], expected[1:], strict=True):
        assert_gradients_agree(actual, wanted, relative_l2_at_most=1e-4 if dtype == torch.float32 else 1e-9)


@both_backends
def test_gradients_are_the_derivatives(backend: str) -> None:
    values, faces, face_id, bary = problem(torch.float64, 6)
    torch.autograd.gradcheck(
        lambda v, b: interpolate(v, faces, face_id, b, backend=backend),
        (values.requires_grad_(), bary.requires_grad_()),
    )


@both_backends
def test_only_what_is_wanted_gets_a_gradient(backend: str) -> None:
    values, faces, face_id, bary = problem(torch.float32)
    for wanted in ((True, False), (False, True)):
        v, b = values.clone().requires_grad_(wanted[0]), bary.clone().requires_grad_(wanted[1])
        interpolate(v, faces, face_id, b, backend=backend).sum().backward()
        assert (v.grad is not None, b.grad is not None) == wanted
    assert not interpolate(values, faces, face_id, bary, backend=backend).requires_grad


@both_backends
def test_a_constant_stays_constant_and_corners_give_their_value(backend: str) -> None:
    values, faces, face_id, bary = problem(torch.float64)
    flat = interpolate(torch.full_like(values, 7), faces, face_id, bary, backend=backend)
    torch.testing.assert_close(flat, torch.full_like(flat, 7))
    for corner in range(3):
        at_corner = torch.eye(3, dtype=torch.float64)[corner].expand(len(face_id), 3)
        assert torch.equal(
            interpolate(values, faces, face_id, at_corner, backend=backend), values[faces[face_id, corner]]
        )


def test_same_bits_for_any_number_of_threads() -> None:
    work = problem(torch.float32, 40_000)
    assert_same_for_any_threads(lambda: with_gradients(work, "numba"))


@both_backends
@both_dtypes
def test_result_does_not_depend_on_what_memory_held(
    backend: str, dtype: torch.dtype, poisoned_memory: Callable[[], AbstractContextManager[None]]
) -> None:
    work = problem(dtype)
    expected = with_gradients(work, backend)
    with poisoned_memory():
        found = with_gradients(work, backend)
    assert_same_bits(found, expected)
    assert_all_finite(found)


@both_backends
def test_input_need_not_be_contiguous(backend: str) -> None:
    work = problem(torch.float32)
    wide = tuple(strided(part) for part in work)
    assert_same_bits(interpolate(*wide, backend=backend), interpolate(*work, backend=backend))
    values = wide[0].requires_grad_()
    (grad,) = torch.autograd.grad(interpolate(values, *wide[1:], backend=backend).sum(), values)  # an expanded gradient
    plain = work[0].clone().requires_grad_()
    (expected,) = torch.autograd.grad(interpolate(plain, *work[1:], backend="reference").sum(), plain)
    torch.testing.assert_close(grad, expected)


@both_backends
def test_no_points_and_no_channels(backend: str) -> None:
    values, faces, face_id, bary = problem(torch.float32)
    out, grad_values, grad_bary = with_gradients((values, faces, face_id[:0], bary[:0]), backend)
    assert out.shape == (0, 4) and grad_bary.shape == (0, 3)
    assert grad_values.shape == values.shape and not bool(grad_values.any())
    out, grad_values, grad_bary = with_gradients((values[:, :0], faces, face_id, bary), backend)
    assert out.shape == (300, 0) and grad_values.shape == (50, 0) and not bool(grad_bary.any())


@both_backends
@pytest.mark.parametrize("size", [1e6, 1e20, 1e30])
def test_huge_values_stay_finite(backend: str, size: float) -> None:
    values, faces, face_id, bary = problem(torch.float32)
    assert_all_finite(with_gradients((values * size, faces, face_id, bary), backend))


def test_a_second_derivative_is_refused_and_not_zero() -> None:
    values, faces, face_id, bary = problem(torch.float64)
    out = interpolate(values.requires_grad_(), faces, face_id, bary.requires_grad_())
    (grad,) = torch.autograd.grad(out.square().sum(), bary, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@both_backends
def test_mistakes_are_named(backend: str) -> None:
    values, faces, face_id, bary = problem(torch.float32, 5)
    cases = {
        r"values must have shape \[V, C\]": (values[0], faces, face_id, bary),
        r"values must be float32 or float64": (values.half(), faces, face_id, bary),
        r"faces must have shape \[F, 3\]": (values, faces[:, :2], face_id, bary),
        r"faces must be int64": (values, faces.int(), face_id, bary),
        r"face_id must be int64": (values, faces, face_id.int(), bary),
        r"face_id must have shape \[M\]": (values, faces, face_id[None], bary),
        r"bary must have shape \[5, 3\]": (values, faces, face_id, bary[:4]),
        r"one dtype, got values torch.float32, bary torch.float64": (values, faces, face_id, bary.double()),
        r"one device": (values, faces, face_id, bary.to("meta")),
    }
    for message, arguments in cases.items():
        with pytest.raises(ShapeError, match=f"interpolate: .*{message}"):
            interpolate(*arguments, backend=backend)
    with pytest.raises(BackendError, match="'numba' runs on the CPU"):
        interpolate(*(part.to("meta") for part in (values, faces, face_id, bary)), backend="numba")
