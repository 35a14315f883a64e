from __future__ import annotations

import pytest
import torch
from support.comparators import assert_gradients_agree
from support.op_problems import barycentrics_problem as problem
from support.triangle_soups import (
    assert_all_finite,
    assert_same_bits,
    both_dtypes,
    every_backend,
    parallel_points,
)
from torch import Tensor

from diffrender.ops.barycentrics import barycentrics

Work = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
visible_soups = pytest.mark.parametrize("kind", ("in_front", "crossing", "parallel"))


def with_gradient(work: Work, backend: str) -> tuple[Tensor, Tensor]:
    """The coordinates, and the gradient of a fixed sum of them."""
    verts = work[0].detach().clone().requires_grad_()
    bary = barycentrics(verts, *work[1:], backend=backend)
    weight = torch.linspace(-1, 2, bary.numel(), dtype=bary.dtype).reshape(bary.shape).cos()
    (grad,) = torch.autograd.grad((bary * weight).sum(), verts)
    return bary.detach(), grad


@every_backend
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    # Depths 1, 2, 4 at (0, 0), (4, 0), (0, 3). In the image the weights at (.5, .5) are 17/24, 3/24, 4/24; divided by
    # depth 17/24, 3/48, 4/96, and these sum to 39/48.
    w = torch.tensor([1.0, 2, 4], dtype=dtype)
    xy = torch.tensor([[0.0, 0], [4, 0], [0, 3]], dtype=dtype)
    verts = torch.cat([xy * w[:, None], w[:, None], w[:, None]], 1)[None]
    zero = torch.zeros(1, dtype=torch.int64)
    xy = torch.tensor([[0.5, 0.5]], dtype=dtype)
    bary = barycentrics(verts, torch.tensor([[0, 1, 2]]), zero, zero, xy, backend=backend)
    assert bary[0].tolist() == pytest.approx([34 / 39, 3 / 39, 2 / 39], rel=1e-6)
    assert bary.dtype == dtype


@every_backend
def test_worked_example_of_the_gradient(backend: str) -> None:
    # Orthographic, so b_1 = x / 4 and b = (17, 3, 4) / 24. Moving corner c by d to the right moves the surface under
    # the point by b_c d, so b_1 falls by b_c d / 4; raising w of the corner by d draws it d x 0.5 to the left.
    verts = parallel_points(torch.tensor([[[0.0, 0, 1], [4, 0, 1], [0, 3, 1]]])).requires_grad_()
    zero = torch.zeros(1, dtype=torch.int64)
    bary = barycentrics(verts, torch.tensor([[0, 1, 2]]), zero, zero, torch.tensor([[0.5, 0.5]]), backend=backend)
    (grad,) = torch.autograd.grad(bary[0, 1], verts)
    expected = torch.tensor([[-b / 4, 0, b / 8, 0] for b in (17 / 24, 3 / 24, 4 / 24)])
    torch.testing.assert_close(grad[0], expected, rtol=1e-5, atol=1e-7)


@every_backend
@both_dtypes
@visible_soups
def test_they_sum_to_one_and_give_the_place_back(kind: str, dtype: torch.dtype, backend: str) -> None:
    verts, faces, view, face_id, xy = problem(kind, dtype)
    bary = barycentrics(verts, faces, view, face_id, xy, backend=backend)
    tolerance = 1e-9 if dtype == torch.float64 else 1e-4
    torch.testing.assert_close(bary.sum(1), torch.ones_like(bary[:, 0]), rtol=tolerance, atol=tolerance)
    point = (verts[view[:, None], faces[face_id]] * bary[:, :, None]).sum(1).double()
    near_enough = bary.abs().amax(1) < 20  # further outside the face rounding shows
    assert int(near_enough.sum()) > 200
    torch.testing.assert_close(
        (point[:, :2] / point[:, 2:3])[near_enough], xy.double()[near_enough], rtol=1e-3, atol=100 * tolerance
    )


@visible_soups
def test_the_plain_reference_in_float32_is_near_it(kind: str) -> None:
    work = problem(kind, torch.float32)
    found, plain = with_gradient(work, "numba"), with_gradient(work, "reference")
    torch.testing.assert_close(found[0], plain[0], rtol=1e-3, atol=1e-3)
    assert_gradients_agree(found[1], plain[1], relative_l2_at_most=1e-2, bias_at_most=1e-2, cosine_at_least=0.9999,
                           row_ratio_error_at_most=torch.inf)  # fmt: skip


@every_backend
@both_dtypes
def test_a_face_seen_exactly_from_the_side_gives_zeros(backend: str, dtype: torch.dtype) -> None:
    points = torch.tensor([[[1.0, 1, 1], [2, 2, 1], [5, 5, 1], [5, 5, 1]]], dtype=dtype)
    verts = parallel_points(points).requires_grad_()
    faces = torch.tensor([[0, 1, 2], [2, 2, 3], [0, 0, 1]])
    xy = torch.tensor([[1.5, 1.5], [3, 1], [5, 5], [1, 1], [8, 8]], dtype=dtype)
    view = torch.zeros(5, dtype=torch.int64)
    bary = barycentrics(verts, faces, view, torch.tensor([0, 0, 1, 2, 2]), xy, backend=backend)
    (grad,) = torch.autograd.grad(bary.square().sum() + bary.sum(), verts)
    assert not bool(bary.any()) and not bool(grad.any())


@every_backend
@both_dtypes
@pytest.mark.parametrize("size", [1e-6, 1e6, 1e20])
def test_size_does_not_matter(backend: str, dtype: torch.dtype, size: float) -> None:
    verts, faces, view, face_id, xy = problem("crossing", dtype, 100)
    expected = barycentrics(verts, faces, view, face_id, xy, backend="numba")
    if backend == "reference" and dtype == torch.float32 and size == 1e20:
        pytest.skip("the plain reference computes in the dtype of its input: 1e20 squared is more than float32 holds")
    scaled = (verts * size, faces, view, face_id, xy)
    bary, grad = with_gradient(scaled, backend)
    tolerance = 1e-8 if dtype == torch.float64 else 1e-2
    torch.testing.assert_close(bary, expected, rtol=tolerance, atol=tolerance)
    assert_all_finite(grad)


@every_backend
@both_dtypes
def test_views_together_are_the_views_one_by_one(backend: str, dtype: torch.dtype) -> None:
    verts, faces, view, face_id, xy = problem("crossing", dtype, 600, n_views=3)
    verts = verts.requires_grad_()
    together = barycentrics(verts, faces, view, face_id, xy, backend=backend)
    (grad,) = torch.autograd.grad(together.square().sum(), verts)
    for n in range(3):
        mine = view == n
        one = verts.detach()[n : n + 1].requires_grad_()
        alone = barycentrics(one, faces, view[mine] * 0, face_id[mine], xy[mine], backend=backend)
        (grad_alone,) = torch.autograd.grad(alone.square().sum(), one)
        assert_same_bits(together[mine], alone)
        if backend == "triton":  # which points are summed first depends on their places in the list
            assert_gradients_agree(grad[n : n + 1], grad_alone)
        else:
            assert_same_bits(grad[n : n + 1], grad_alone)
