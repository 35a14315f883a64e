from __future__ import annotations

import pytest
import torch
from support.op_problems import interpolate_problem as problem
from support.triangle_soups import (
    assert_all_finite,
    both_dtypes,
    every_backend,
)
from torch import Tensor

from diffrender.ops.interpolate import interpolate

Work = tuple[Tensor, Tensor, Tensor, Tensor]


def with_gradients(work: Work, backend: str) -> tuple[Tensor, Tensor, Tensor]:
    """The values, and the gradients of a fixed sum of them with respect to values and bary."""
    values, bary = (work[i].detach().clone().requires_grad_() for i in (0, 3))
    out = interpolate(values, work[1], work[2], bary, backend=backend)
    weight = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).reshape(out.shape).cos()
    return (out.detach(), *torch.autograd.grad((out * weight).sum(), (values, bary)))  # type: ignore[return-value]


@every_backend
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


@every_backend
def test_a_constant_stays_constant_and_corners_give_their_value(backend: str) -> None:
    values, faces, face_id, bary = problem(torch.float64)
    flat = interpolate(torch.full_like(values, 7), faces, face_id, bary, backend=backend)
    torch.testing.assert_close(flat, torch.full_like(flat, 7))
    for corner in range(3):
        at_corner = torch.eye(3, dtype=torch.float64)[corner].expand(len(face_id), 3)
        assert torch.equal(
            interpolate(values, faces, face_id, at_corner, backend=backend), values[faces[face_id, corner]]
        )


@every_backend
@pytest.mark.parametrize("size", [1e6, 1e20, 1e30])
def test_huge_values_stay_finite(backend: str, size: float) -> None:
    values, faces, face_id, bary = problem(torch.float32)
    assert_all_finite(with_gradients((values * size, faces, face_id, bary), backend))


@every_backend
def test_runs_of_points_on_one_face_are_summed_each_for_itself(backend: str) -> None:
    """Runs of all lengths, a face that comes back, and a gradient that is not a number, which stays with its face."""
    values, faces, _, _ = problem(torch.float64)
    faces = torch.arange(48).reshape(16, 3)  # no common corners
    lengths = torch.tensor([40, 1, 3, 1, 90, 2, 1, 1, 5, 33, 32, 8, 7, 1, 64, 4, 30])
    face_id = torch.tensor([0, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]).repeat_interleave(lengths)
    generator = torch.Generator().manual_seed(0)
    bary, grad = (torch.rand(len(face_id), n, generator=generator, dtype=torch.float64) for n in (3, 4))
    grad[face_id == 3] = torch.nan
    leaf = values.clone().requires_grad_()
    out = interpolate(leaf, faces, face_id, bary, backend=backend)
    (found,) = torch.autograd.grad(out, leaf, grad)
    shares = (bary[:, :, None] * grad[:, None]).flatten(0, 1)
    expected = torch.zeros_like(values).index_add(0, faces[face_id].flatten(), shares)
    torch.testing.assert_close(found, expected, equal_nan=True)
    assert torch.equal(found.isnan().any(1).nonzero()[:, 0], faces[3])
