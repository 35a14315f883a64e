from __future__ import annotations

import torch
from support.op_problems import vectors_of_all_lengths as problem
from support.triangle_soups import (
    assert_all_finite,
    both_dtypes,
    every_backend,
)
from torch import Tensor

from diffrender.ops.normalize import normalize


def with_gradient(vectors: Tensor, backend: str) -> tuple[Tensor, Tensor]:
    """The unit vectors, and the gradient of a fixed sum of them."""
    leaf = vectors.detach().clone().requires_grad_()
    out = normalize(leaf, backend=backend)
    weight = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).reshape(out.shape).cos()
    return out.detach(), torch.autograd.grad((out * weight).sum(), leaf)[0]


@every_backend
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    vectors = torch.tensor([[0.0, 3, 4], [0, 0, 0], [2e-13, 0, 0]], dtype=dtype, requires_grad=True)
    out = normalize(vectors, backend=backend)
    torch.testing.assert_close(out, torch.tensor([[0, 0.6, 0.8], [0, 0, 0], [0, 0, 0]], dtype=dtype))
    (grad,) = torch.autograd.grad(out.sum(), vectors)
    # g = (1, 1, 1) without its part 1.4 u along u, over the length 5.
    expected = torch.tensor([[1, 1 - 0.84, 1 - 1.12], [0, 0, 0], [0, 0, 0]], dtype=dtype) / 5
    torch.testing.assert_close(grad, expected)


@every_backend
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


@every_backend
def test_a_nan_stays_one(backend: str) -> None:
    vectors = problem(n_vectors=6)
    vectors[3, 1] = torch.nan
    out = normalize(vectors, backend=backend)
    assert bool(out[3].isnan().all())
    assert_all_finite((out[:3], out[4:]))
