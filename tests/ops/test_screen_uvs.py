from __future__ import annotations

import pytest
import torch
from support.op_arguments import some_tangents, value_and_tangents
from support.op_case import named
from support.op_problems import screen_uvs_problem as problem
from support.triangle_soups import (
    assert_all_finite,
    both_dtypes,
    every_backend,
    parallel_points,
)
from torch import Tensor

from diffrender.ops.barycentrics import barycentrics
from diffrender.ops.screen_uvs import screen_uvs
from diffrender.ops.screen_uvs.op import LARGEST

Work = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
FLOATS = (0, 3)
every_soup = pytest.mark.parametrize("kind", ("in_front", "crossing", "parallel"))


def with_gradients(work: Work, backend: str) -> tuple[Tensor, ...]:
    """Coordinates, derivatives, and the gradients of a fixed sum of both with respect to uvs and verts_hom."""
    arguments = list(work)
    for index in FLOATS:
        arguments[index] = work[index].detach().clone().requires_grad_()
    out = screen_uvs(*arguments, backend=backend)
    total = out[0].new_zeros(())
    for part, end in zip(out, (2, -1), strict=True):
        total = total + (part * torch.linspace(1, end, part.numel(), dtype=part.dtype).reshape(part.shape).cos()).sum()
    return (*(part.detach() for part in out), *torch.autograd.grad(total, [arguments[index] for index in FLOATS]))


def tangents_of(work: Work, backend: str) -> list[Tensor]:
    """Two tangents of coordinates and derivatives each, of uvs and verts_hom that move in two ways."""
    arguments = named(screen_uvs, *work)
    moved = some_tangents(arguments, ("uvs", "verts_hom"))
    return value_and_tangents(screen_uvs, arguments, moved, backend)[1]


@every_backend
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    # A triangle with legs of 10 and 5 pixels whose uv runs over the unit square: 1/10 a pixel to the right, 1/5 down.
    flat = torch.tensor([[[0.0, 0, 1, 1], [10, 0, 1, 1], [0, 5, 1, 1]]], dtype=dtype)
    uvs = torch.tensor([[0.0, 0], [1, 0], [0, 1]], dtype=dtype)
    faces, zero = torch.tensor([[0, 1, 2]]), torch.zeros(2, dtype=torch.int64)
    xy = torch.tensor([[0.0, 0], [3, 2]], dtype=dtype)
    uv, derivatives = screen_uvs(uvs, faces, zero, flat, faces, zero, zero, xy, backend=backend)
    torch.testing.assert_close(uv, torch.tensor([[0, 0], [0.3, 0.4]], dtype=dtype))
    torch.testing.assert_close(derivatives, torch.tensor([[[0.1, 0], [0, 0.2]]] * 2, dtype=dtype))
    # The right corner is twice as far away, w = 2. At place x, b_1 = (x / 10) / 2 over (1 - x / 10) + (x / 10) / 2, so
    # u = x / (20 - x) and du/dx = 20 / (20 - x)^2: 1/20 at the left corner and 1/5 at the right one.
    tilted = torch.tensor([[[0.0, 0, 1, 1], [20, 0, 2, 2], [0, 5, 1, 1]]], dtype=dtype).requires_grad_()
    xy = torch.tensor([[0.0, 0], [10, 0]], dtype=dtype)
    uv, derivatives = screen_uvs(uvs, faces, zero, tilted, faces, zero, zero, xy, backend=backend)
    assert uv[:, 0].tolist() == pytest.approx([0, 1])
    assert derivatives[:, 0, 0].tolist() == pytest.approx([1 / 20, 1 / 5])
    assert derivatives[:, 1, 0].tolist() == pytest.approx([0, 0]) and derivatives[0, 1, 1].item() == pytest.approx(0.2)
    # Moved by one pixel (its x w by w), the left corner takes its u = 0 along.
    (grad,) = torch.autograd.grad(uv[0, 0], tilted)
    assert grad[0, 0, 0].item() == pytest.approx(-1 / 20)


@every_soup
@every_backend
def test_is_what_corners_hold_and_its_derivative(backend: str, kind: str) -> None:
    work = problem(kind)
    uvs, uv_faces, face_id, verts_hom, faces, scene_face_id, view, xy_px = work

    def uv_at(places: Tensor) -> Tensor:
        there = barycentrics(verts_hom, faces, view, scene_face_id, places)
        return (uvs[uv_faces[face_id]] * there[:, :, None]).sum(1)

    uv, derivatives = screen_uvs(*work, backend=backend)
    torch.testing.assert_close(uv, uv_at(xy_px), rtol=1e-9, atol=1e-9)
    step = 1e-3
    steps = step * torch.eye(2, dtype=torch.float64)
    expected = torch.stack([(uv_at(xy_px + d) - uv_at(xy_px - d)) / (2 * step) for d in steps], 2)
    small = (expected.abs() < 1).flatten(1).all(1)  # near the horizon the steps themselves are too long
    assert small.sum() > 120
    torch.testing.assert_close(derivatives[small], expected[small], rtol=1e-3, atol=1e-6)


@every_backend
@both_dtypes
def test_finite_however_grazing(backend: str, dtype: torch.dtype) -> None:
    """A floor that is tilted until it is seen exactly edge-on."""
    faces, zero = torch.tensor([[0, 1, 2]]), torch.zeros(1, dtype=torch.int64)
    uvs = torch.tensor([[0.0, 0], [1, 0], [0, 1]], dtype=dtype)
    for height in (1.0, 1e-3, 1e-6, 1e-12, 1e-30, 0.0):
        verts_hom = torch.tensor([[[0.0, 0, 1, 1], [20, 0, 2, 2], [0, 5 * height, 3, 3]]], dtype=dtype)
        xy = torch.tensor([[4.0, 0.9 * height]], dtype=dtype)
        results = with_gradients((uvs, faces, zero, verts_hom, faces, zero, zero, xy), backend)
        assert_all_finite(results)
        assert float(results[1].abs().max()) <= LARGEST
        assert bool(results[1].any()) == (height > 0)
        _, moved = tangents_of((uvs, faces, zero, verts_hom, faces, zero, zero, xy), backend)
        assert not bool(moved[:, results[1].abs() >= LARGEST].any())
        assert bool(moved.any()) or height < 1e-3


@every_backend
def test_a_face_seen_exactly_from_the_side_gives_zeros(backend: str) -> None:
    verts = parallel_points(torch.tensor([[[1.0, 1, 1], [2, 2, 1], [5, 5, 1]]]))
    uvs, faces, zero = torch.rand(3, 2), torch.tensor([[0, 1, 2]]), torch.zeros(2, dtype=torch.int64)
    xy = torch.tensor([[1.5, 1.5], [3, 1]])
    results = with_gradients((uvs, faces, zero, verts, faces, zero, zero, xy), backend)
    assert not any(bool(part.any()) for part in results)
    moved = tangents_of((uvs, faces, zero, verts, faces, zero, zero, xy), backend)
    assert not any(bool(part.any()) for part in moved)
