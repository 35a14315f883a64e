from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
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
from diffrender.ops.normalize import normalize


def problem(dtype: torch.dtype = torch.float64, n_vectors: int = 300) -> Tensor:
    """Vectors of all lengths, some of them zero."""
    vectors = torch.randn(n_vectors, 3, dtype=torch.float64) * 10 ** torch.linspace(-5, 5, n_vectors)[:, None]
    vectors[::7] = 0
    return vectors.to(dtype)


def with_gradient(vectors: Tensor, backend: str) -> tuple[Tensor, Tensor]:
    """The unit vectors, and the gradient of a fixed sum of them."""
    leaf = vectors.detach().clone().requires_grad_()
    out = normalize(leaf, backend=backend)
    weight = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).reshape(out.shape).cos()
    return out.detach(), torch.autograd.grad((out * weight).sum(), leaf)[0]


@both_backends
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    vectors = torch.tensor([[0.0, 3, 4], [0, 0, 0], [2e-13, 0, 0]], dtype=dtype, requires_grad=True)
    out = normalize(vectors, backend=backend)
    torch.testing.assert_close(out, torch.tensor([[0, 0.6, 0.8], [0, 0, 0], [0, 0, 0]], dtype=dtype))
    (grad,) = torch.autograd.grad(out.sum(), vectors)
    # g = (1, 1, 1) without its part 1.4 u along u, over the length 5.
    expected = torch.tensor([[1, 1 - 0.84, 1 - 1.12], [0, 0, 0], [0, 0, 0]], dtype=dtype) / 5
    torch.testing.assert_close(grad, expected)


@both_backends
@both_dtypes
def test_agrees_with_normalize(backend: str, dtype: torch.dtype) -> None:
    vectors = problem(dtype)
    out, grad = with_gradient(vectors, backend)
    leaf = vectors.double().requires_grad_()
    expected = torch.nn.functional.normalize(leaf, dim=1)
    weight = torch.linspace(-1, 2, out.numel(), dtype=dtype).reshape(out.shape).cos()
    (wanted,) = torch.autograd.grad((expected * weight).sum(), leaf)
    has_length = vectors.double().norm(dim=1) > 1e-11
    assert 200 < int(has_length.sum()) < len(vectors)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-6
    torch.testing.assert_close(out.double(), expected.detach(), rtol=tolerance, atol=tolerance)
    size = vectors.double().norm(dim=1, keepdim=True)  # gradients go with one over it
    torch.testing.assert_close(
        (grad.double() * size)[has_length], (wanted * size)[has_length], rtol=tolerance, atol=4 * tolerance
    )
    assert not bool(grad[~has_length].any())


@both_backends
def test_gradient_is_the_derivative(backend: str) -> None:
    torch.autograd.gradcheck(
        lambda v: normalize(v, backend=backend), torch.randn(8, 3, dtype=torch.float64, requires_grad=True)
    )


@both_backends
def test_a_nan_stays_one(backend: str) -> None:
    vectors = problem(n_vectors=6)
    vectors[3, 1] = torch.nan
    out = normalize(vectors, backend=backend)
    assert bool(out[3].isnan().all())
    assert_all_finite((out[:3], out[4:]))


def test_same_bits_for_any_number_of_threads() -> None:
    vectors = problem(torch.float32, 60_000)
    assert_same_for_any_threads(lambda: with_gradient(vectors, "numba"))


@both_backends
@both_dtypes
def test_result_does_not_depend_on_what_memory_held(
    backend: str, dtype: torch.dtype, poisoned_memory: Callable[[], AbstractContextManager[None]]
) -> None:
    vectors = problem(dtype)
    expected = with_gradient(vectors, backend)
    with poisoned_memory():
        found = with_gradient(vectors, backend)
    assert_same_bits(found, expected)
    assert_all_finite(found)


@both_backends
def test_input_need_not_be_contiguous_and_may_be_empty(backend: str) -> None:
    vectors = problem()
    assert_same_bits(normalize(strided(vectors), backend=backend), normalize(vectors, backend=backend))
    assert [part.shape for part in with_gradient(vectors[:0], backend)] == [(0, 3), (0, 3)]


@both_backends
def test_mistakes_are_named(backend: str) -> None:
    with pytest.raises(ShapeError, match=r"normalize: vectors must have shape \[M, 3\], got \[4, 2\]"):
        normalize(torch.ones(4, 2), backend=backend)
    with pytest.raises(ShapeError, match="normalize: vectors must be float32 or float64"):
        normalize(torch.ones(4, 3).half(), backend=backend)
    with pytest.raises(BackendError, match="'numba' runs on the CPU"):
        normalize(torch.ones(4, 3, device="meta"), backend="numba")
