from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from support.comparators import assert_gradients_agree, relative_l2
from support.triangle_soups import (
    assert_all_finite,
    assert_same_bits,
    assert_same_for_any_threads,
    both_backends,
    both_dtypes,
    parallel_points,
)
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.geometry.topology import Topology
from diffrender.ops.rasterize import rasterize
from diffrender.ops.sample_shadow_map import Occluders, sample_shadow_map
from diffrender.render.edge_models.antialias import Antialias

SIZE = 40
FAR = 9.0  # depth of what is below all triangles
NONE = Occluders(
    torch.zeros(0, dtype=torch.int64),
    torch.zeros(0, dtype=torch.int64),
    torch.zeros(0, 3),
    torch.zeros(0, 2),
    torch.zeros(0),
    torch.zeros(0),
)


def occluders_in(dtype: torch.dtype) -> Occluders:
    return Occluders(*(part.to(dtype) if part.is_floating_point() else part for part in NONE))


def hand_map(map_depth: Tensor, places: list[list[float]], radius: int, backend: str, **more: Any) -> list[float]:
    """What points of depth 2 at `places` see through one map, with no slope and no bias unless told."""
    place = torch.tensor(places, dtype=map_depth.dtype).reshape(-1, 2)
    n = len(places)
    full = map_depth.new_full
    values = {"slope": full((n, 2), 0.0), "bias": full((n,), 0.0), "depth": full((n,), 2.0)} | more
    triangle = torch.zeros(1, 3, 4, dtype=map_depth.dtype), torch.tensor([[0, 1, 2]])
    points = place, values["depth"], values["slope"], values["bias"]
    map_id = torch.zeros(n, dtype=torch.int64)
    none = occluders_in(map_depth.dtype)
    return sample_shadow_map(map_depth[None], map_id, *points, radius, none, *triangle, backend=backend).tolist()


@both_backends
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    # The left half of the map, columns 0 to 3, holds something at depth 1; the right half nothing.
    depth = torch.full((8, 8), math.inf, dtype=dtype)
    depth[:, :4] = 1.0
    # On the edge between, at x = 4, half is seen.
    found = hand_map(depth, [[4.0, 4.0], [3.0, 4.0], [5.0, 4.0], [3.75, 3.1], [4.25, 6.3]], 1, backend)
    assert found == pytest.approx([0.5, 0.0, 1.0, 0.25, 0.75])
    # Half-width 2 at x = 4: texels at 2.5, 3.5 (dark) and 4.5, 5.5 with the weights 1/8, 3/8 and so on.
    assert hand_map(depth, [[4.5, 4.0], [6.0, 4.0]], 2, backend) == pytest.approx(
        [0.5 + 0.5 * 0.5 - 0.0, 1.0], abs=0.03
    )
    # A surface in front of what the map holds is lit, and so is one as far behind as the bias.
    near = torch.tensor([0.5, 1.2, 1.4], dtype=dtype)
    bias = torch.tensor([0.0, 0.25, 0.25], dtype=dtype)
    assert hand_map(depth, [[2.0, 4.0]] * 3, 1, backend, depth=near, bias=bias) == pytest.approx([1, 1, 0])
    # Beyond the map all is lit: here half of the tent.
    assert hand_map(depth, [[0.0, 4.0], [-5.0, 4.0], [1e30, math.nan]], 1, backend)[:2] == pytest.approx([0.5, 1.0])


@both_backends
def test_a_slanting_surface_does_not_shade_itself(backend: str) -> None:
    columns = torch.arange(16, dtype=torch.float64) + 0.5
    depth = (0.3 * columns)[None, :].expand(16, 16).contiguous()
    slope = torch.tensor([[0.3, 0.0]], dtype=torch.float64)
    place = [[7.3, 8.0]]
    here = torch.tensor([0.3 * 7.3], dtype=torch.float64)
    slight = torch.full((1,), 1e-9, dtype=torch.float64)
    assert hand_map(depth, place, 3, backend, depth=here, slope=slope, bias=slight) == [1.0]
    assert hand_map(depth, place, 3, backend, depth=here, bias=slight)[0] < 0.65


@both_backends
def test_without_edges_the_weights_sum_to_one_wherever_a_point_is(backend: str) -> None:
    dark = torch.zeros(32, 32, dtype=torch.float64)
    places = (8 + 16 * torch.rand(200, 2, generator=torch.Generator().manual_seed(0))).tolist()
    for radius in (1, 2, 5):
        assert hand_map(dark, places, radius, backend) == pytest.approx([0.0] * 200, abs=1e-12)


Problem = tuple[Callable[[Tensor, Tensor, str], Tensor], Tensor, Tensor]


def problem(dtype: torch.dtype = torch.float64, radius: int = 3, n: int = 300) -> Problem:
    """(visible(place, corners, backend), place, corners): points below two triangles, one of them before the other."""
    generator = torch.Generator().manual_seed(n)
    corners = torch.tensor(
        [[6, 5, 2], [33, 9, 2], [15, 31, 2], [3, 22, 1], [36, 17, 1.5], [28, 36, 1]], dtype=torch.float64
    ).to(dtype)
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    place = (SIZE * torch.rand(n, 2, generator=generator, dtype=torch.float64)).to(dtype)
    # Some lie between the triangles: only one of them covers those.
    depth = torch.where(torch.arange(n) % 3 == 0, 1.8, FAR).to(dtype)
    verts = parallel_points(corners)[None].to(dtype)
    topology = Topology(faces)
    raster = rasterize(verts, faces, SIZE, SIZE, near=0)
    seen = Antialias(1).visible(verts, topology, raster, 0.0, None)
    outlines, beyond = seen.outlines, seen.beyond
    order = outlines.pixel.argsort(stable=True)
    at = (verts[0, faces[outlines.face], 3] * outlines.bary).sum(1)
    behind = torch.full_like(at, math.inf)
    # What the nearer triangle's outline covers is the farther one.
    behind[beyond.outline] = 2.0
    occluders = Occluders(
        outlines.pixel[order], outlines.face[order], outlines.bary[order], outlines.normal_px[order], at[order],
        behind[order],
    )  # fmt: skip
    map_depth = raster.depth[..., 0].where(raster.face_id[..., 0] >= 0, math.inf)
    slope, bias = torch.zeros(n, 2, dtype=dtype), torch.full((n,), 1e-3, dtype=dtype)
    map_id = torch.zeros(n, dtype=torch.int64)

    def visible(place: Tensor, corners: Tensor, backend: str) -> Tensor:
        moved = parallel_points(corners)[None].to(dtype)
        return sample_shadow_map(
            map_depth, map_id, place, depth, slope, bias, radius, occluders, moved, faces, backend=backend
        )

    return visible, place, corners


def with_gradients(work: Problem, backend: str) -> tuple[Tensor, ...]:
    visible, place, corners = work
    place, corners = place.clone().requires_grad_(), corners.clone().requires_grad_()
    out = visible(place, corners, backend)
    weight = torch.linspace(-1, 2, len(out), dtype=out.dtype).cos()
    return (out.detach(), *torch.autograd.grad((out * weight).sum(), (place, corners)))


@both_dtypes
@pytest.mark.parametrize("radius", [1, 2, 5])
def test_matches_the_reference_in_value_and_gradient(dtype: torch.dtype, radius: int) -> None:
    found, expected = (with_gradients(problem(dtype, radius), backend) for backend in ("numba", "reference"))
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(found[0], expected[0], rtol=tolerance, atol=tolerance)
    assert int(((found[0] > 0.1) & (found[0] < 0.9)).sum()) > 0
    for actual, wanted in zip(found[1:], expected[1:], strict=True):
        assert_gradients_agree(actual, wanted)


@both_backends
def test_gradient_of_places_is_the_derivative(backend: str) -> None:
    visible, place, corners = problem(n=12)
    assert torch.autograd.gradcheck(lambda p: visible(p, corners, backend), place.clone().requires_grad_())


@both_backends
def test_gradient_of_vertices_is_that_of_the_finely_resolved_shadow(backend: str) -> None:
    """Against differences of the area that the moved triangles cover, by many points a texel."""
    radius = 3
    visible, place, corners = problem(radius=radius, n=300)
    far = torch.arange(300) % 3 != 0
    leaf = corners.clone().requires_grad_()
    weight = torch.sin(0.2 * place[:, 0] + 1) * torch.cos(0.15 * place[:, 1]) * far
    (gradient,) = torch.autograd.grad((visible(place, leaf, backend) * weight).sum(), leaf)

    fine = 6
    grid = (torch.arange(SIZE * fine, dtype=torch.float64) + 0.5) / fine
    points = torch.stack(torch.meshgrid(grid, grid, indexing="xy"), -1).reshape(-1, 2)

    def lit(moved: Tensor) -> Tensor:
        covered = torch.zeros(len(points), dtype=torch.bool)
        for a, b, c in ((0, 1, 2), (3, 4, 5)):
            sides = [
                torch.linalg.cross(
                    torch.cat([moved[j, :2] - moved[i, :2], moved.new_zeros(1)]).expand(len(points), 3),
                    torch.cat([points - moved[i, :2], points.new_zeros(len(points), 1)], 1),
                )[:, 2]
                for i, j in ((a, b), (b, c), (c, a))
            ]
            side = torch.stack(sides)
            covered |= (side >= 0).all(0) | (side <= 0).all(0)
        return (~covered).double()

    tents = []
    for start in range(0, 300, 100):
        offset = (points[None] - place[start : start + 100, None]).abs() / radius
        tents.append((1 - offset).clamp_min(0).prod(2) / radius**2 / fine**2)
    tent = torch.cat(tents)
    for vertex, axis in ((0, 0), (1, 1), (2, 0), (4, 0), (5, 1)):
        step = torch.zeros_like(corners)
        step[vertex, axis] = 0.3
        difference = float(((tent @ (lit(corners + step) - lit(corners - step))) * weight).sum()) / 0.6
        assert float(gradient[vertex, axis]) == pytest.approx(
            difference, rel=0.06, abs=0.02 * float(gradient.abs().max())
        )


@both_backends
def test_moving_map_and_points_together_changes_nothing(backend: str) -> None:
    visible, place, corners = problem(radius=4, n=900)
    place, corners = place.requires_grad_(), corners.requires_grad_()
    weight = (place.detach()[:, 0] > SIZE / 2).double()  # the whole would cancel by itself
    moved = torch.autograd.grad((visible(place, corners, backend) * weight).sum(), (place, corners))
    assert relative_l2(moved[0].sum(0)[:1], -moved[1][:, :2].sum(0)[:1]) < 0.03
    assert float(moved[0].sum(0)[0].abs()) > 5


def test_same_bits_for_any_number_of_threads() -> None:
    work = problem(torch.float32, n=20_000)
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
def test_no_points_and_places_far_away(backend: str) -> None:
    visible, place, corners = problem()
    lit = hand_map(torch.zeros(8, 8, dtype=torch.float64), [[1e12, 4.0], [-1e30, 1e30]], 2, backend)
    assert lit == [1.0, 1.0]
    assert hand_map(torch.zeros(8, 8, dtype=torch.float64), [], 2, backend) == []
    assert with_gradients((visible, place, corners), backend)[1].isfinite().all()


def test_mistakes_are_named() -> None:
    depth, place = torch.zeros(1, 8, 8), torch.zeros(2, 2)
    zeros, triangle = torch.zeros(2), (torch.zeros(1, 3, 4), torch.tensor([[0, 1, 2]]))
    ids = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ShapeError, match="radius must be at least 1 texel, got 0"):
        sample_shadow_map(depth, ids, place, zeros, place, zeros, 0, NONE, *triangle)
    with pytest.raises(ShapeError, match=r"slope must have shape \[2, 2\]"):
        sample_shadow_map(depth, ids, place, zeros, zeros, zeros, 1, NONE, *triangle)
    with pytest.raises(ShapeError, match=r"verts_hom must have shape \[1, V, 4\]"):
        sample_shadow_map(depth, ids, place, zeros, place, zeros, 1, NONE, torch.zeros(2, 3, 4), triangle[1])
    with pytest.raises(ShapeError, match="one dtype"):
        sample_shadow_map(depth, ids, place.double(), zeros, place, zeros, 1, NONE, *triangle)
