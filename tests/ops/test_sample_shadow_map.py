from __future__ import annotations

import inspect
import math
from typing import Any

import pytest
import torch
from support.comparators import relative_l2
from support.op_problems import MAP_SIZE, shadow_problem
from support.triangle_soups import both_dtypes, every_backend, parallel_points
from torch import Tensor

from diffrender.ops.sample_shadow_map import Occluders, sample_shadow_map


def hand_map(map_depth: Tensor, places: list[list[float]], radius: int, backend: str, **more: Any) -> list[float]:
    """What points of depth 2 at `places` see through one map, with no slope and no bias unless told."""
    xy = torch.tensor(places, dtype=map_depth.dtype).reshape(-1, 2)
    n = len(places)
    full = map_depth.new_full
    values = {"slope": full((n, 2), 0.0), "bias": full((n,), 0.0), "depth": full((n,), 2.0)} | more
    triangle = torch.zeros(1, 3, 4, dtype=map_depth.dtype), torch.tensor([[0, 1, 2]])
    points = xy, values["depth"], values["slope"], values["bias"]
    map_id = torch.zeros(n, dtype=torch.int64)
    index, number = torch.zeros(0, dtype=torch.int64), map_depth.new_zeros
    none = Occluders(index, index, number(0, 3), number(0, 2), number(0), number(0))
    return sample_shadow_map(map_depth[None], map_id, *points, radius, none, *triangle, backend=backend).tolist()


@every_backend
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


@every_backend
def test_a_slanting_surface_does_not_shade_itself(backend: str) -> None:
    columns = torch.arange(16, dtype=torch.float64) + 0.5
    depth = (0.3 * columns)[None, :].expand(16, 16).contiguous()
    slope = torch.tensor([[0.3, 0.0]], dtype=torch.float64)
    xy = [[7.3, 8.0]]
    here = torch.tensor([0.3 * 7.3], dtype=torch.float64)
    slight = torch.full((1,), 1e-9, dtype=torch.float64)
    assert hand_map(depth, xy, 3, backend, depth=here, slope=slope, bias=slight) == [1.0]
    assert hand_map(depth, xy, 3, backend, depth=here, bias=slight)[0] < 0.65


@every_backend
def test_without_edges_the_weights_sum_to_one_wherever_a_point_is(backend: str) -> None:
    dark = torch.zeros(32, 32, dtype=torch.float64)
    places = (8 + 16 * torch.rand(200, 2, generator=torch.Generator().manual_seed(0))).tolist()
    for radius in (1, 2, 5):
        assert hand_map(dark, places, radius, backend) == pytest.approx([0.0] * 200, abs=1e-12)


def visible_of(work: tuple[Any, ...], xy_px: Tensor, corners: Tensor, backend: str) -> Tensor:
    """What the points of a shadow_problem see from other positions, of triangles with other corners (x, y, depth)."""
    arguments = inspect.signature(sample_shadow_map).bind(*work).arguments
    moved = {"xy_px": xy_px, "verts_hom": parallel_points(corners)[None]}
    return sample_shadow_map(**(arguments | moved), backend=backend)


def moving_problem(radius: int, n: int) -> tuple[tuple[Any, ...], Tensor, Tensor]:
    """A shadow_problem, its points, and the corners (x, y, depth) of its triangles."""
    work = shadow_problem(radius=radius, n=n)
    return work, work[2], work[8][0][:, [0, 1, 3]]


@every_backend
def test_gradient_of_vertices_is_that_of_the_finely_resolved_shadow(backend: str) -> None:
    """Against differences of the area that the moved triangles cover, by many points a texel."""
    radius = 3
    work, xy, corners = moving_problem(radius, 300)
    far = torch.arange(300) % 3 != 0
    leaf = corners.clone().requires_grad_()
    weight = torch.sin(0.2 * xy[:, 0] + 1) * torch.cos(0.15 * xy[:, 1]) * far
    (gradient,) = torch.autograd.grad((visible_of(work, xy, leaf, backend) * weight).sum(), leaf)

    fine = 6
    grid = (torch.arange(MAP_SIZE * fine, dtype=torch.float64) + 0.5) / fine
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
        offset = (points[None] - xy[start : start + 100, None]).abs() / radius
        tents.append((1 - offset).clamp_min(0).prod(2) / radius**2 / fine**2)
    tent = torch.cat(tents)
    for vertex, axis in ((0, 0), (1, 1), (2, 0), (4, 0), (5, 1)):
        step = torch.zeros_like(corners)
        step[vertex, axis] = 0.3
        difference = float(((tent @ (lit(corners + step) - lit(corners - step))) * weight).sum()) / 0.6
        assert float(gradient[vertex, axis]) == pytest.approx(
            difference, rel=0.06, abs=0.02 * float(gradient.abs().max())
        )


@every_backend
def test_moving_map_and_points_together_changes_nothing(backend: str) -> None:
    work, xy, corners = moving_problem(radius=4, n=900)
    xy, corners = xy.clone().requires_grad_(), corners.clone().requires_grad_()
    weight = (xy.detach()[:, 0] > MAP_SIZE / 2).double()  # the whole would cancel by itself
    moved = torch.autograd.grad((visible_of(work, xy, corners, backend) * weight).sum(), (xy, corners))
    assert relative_l2(moved[0].sum(0)[:1], -moved[1][:, :2].sum(0)[:1]) < 0.03
    assert float(moved[0].sum(0)[0].abs()) > 5


@every_backend
def test_places_far_away_are_lit(backend: str) -> None:
    lit = hand_map(torch.zeros(8, 8, dtype=torch.float64), [[1e12, 4.0], [-1e30, 1e30]], 2, backend)
    assert lit == [1.0, 1.0]


def test_the_problem_has_points_in_the_half_shadow() -> None:
    for radius in (1, 2, 5):
        visible = sample_shadow_map(*shadow_problem(radius=radius))
        assert int(((visible > 0.1) & (visible < 0.9)).sum()) > 0
