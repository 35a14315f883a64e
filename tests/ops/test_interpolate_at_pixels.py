from __future__ import annotations

import torch
from support.op_problems import interpolate_at_pixels_problem as problem
from support.triangle_soups import (
    both_dtypes,
    every_backend,
    parallel_points,
)

from diffrender.ops.barycentrics import barycentrics
from diffrender.ops.interpolate_at_pixels import interpolate_at_pixels


@every_backend
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    # Orthographic, so b = (17, 3, 4) / 24 at (.5, .5). Moving corner c by d to the right moves the surface under the
    # point by b_c d: there the values change by -b_c d times their slope along x, (b's - a's) / 4.
    verts = parallel_points(torch.tensor([[[0, 0, 1], [4, 0, 1], [0, 3, 1]]], dtype=dtype)).requires_grad_()
    values = torch.tensor([[24.0, 0], [48, 24], [0, 240]], dtype=dtype).requires_grad_()
    faces, zero = torch.tensor([[0, 1, 2]]), torch.zeros(1, dtype=torch.int64)
    xy = torch.tensor([[0.5, 0.5]], dtype=dtype)
    out = interpolate_at_pixels(values, faces, zero, verts, faces, zero, zero, xy, backend=backend)
    torch.testing.assert_close(out, torch.tensor([[17 + 6.0, 3 + 40]], dtype=dtype))
    grad_values, grad_verts = torch.autograd.grad(out[0, 0], (values, verts))
    bary = torch.tensor([17, 3, 4], dtype=dtype) / 24
    torch.testing.assert_close(grad_values, torch.stack([bary, torch.zeros_like(bary)], 1))
    torch.testing.assert_close(grad_verts[0, :, 0], -bary * (48 - 24) / 4)


@every_backend
def test_the_place_itself_comes_back(backend: str) -> None:
    # What the corners hold is their place times 1 / w: interpolated and divided, the place of the point.
    work = problem("in_front", torch.float64)
    verts, faces, scene_face_id, view, xy = work[3:]
    one_view = view == 0
    held = verts[0, :, :3]
    out = interpolate_at_pixels(
        held,
        faces,
        scene_face_id[one_view],
        verts,
        faces,
        scene_face_id[one_view],
        view[one_view],
        xy[one_view],
        backend=backend,
    )
    bary = barycentrics(verts, faces, view[one_view], scene_face_id[one_view], xy[one_view])
    sound = bary.abs().amax(1) < 20
    torch.testing.assert_close((out[:, :2] / out[:, 2:])[sound], xy[one_view][sound], rtol=1e-9, atol=1e-9)


@every_backend
def test_a_face_seen_exactly_from_the_side_gives_zeros(backend: str) -> None:
    verts = parallel_points(torch.tensor([[[1.0, 1, 1], [2, 2, 1], [5, 5, 1]]])).requires_grad_()
    values, faces = torch.ones(3, 3, requires_grad=True), torch.tensor([[0, 1, 2]])
    zero = torch.zeros(2, dtype=torch.int64)
    out = interpolate_at_pixels(
        values, faces, zero, verts, faces, zero, zero, torch.tensor([[1.5, 1.5], [3, 1]]), backend=backend
    )
    grads = torch.autograd.grad(out.sum() + out.square().sum(), (values, verts))
    assert not any(bool(part.any()) for part in (out, *grads))
