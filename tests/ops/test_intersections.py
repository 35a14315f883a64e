from __future__ import annotations

import math

import pytest
import torch
from support.op_problems import intersections_problem
from support.triangle_soups import (
    HEIGHT,
    WIDTH,
    assert_all_finite,
    assert_same_bits,
    both_dtypes,
    every_backend,
    every_backend_and_dtype,
    every_soup,
    parallel_points,
    perspective_points,
)
from torch import Tensor

from diffrender.ops.intersections import Intersections, intersections
from diffrender.ops.intersections.op import SEGMENT_PX

QUADS = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
QUAD_PAIRS = torch.tensor([[0, 2], [0, 3], [1, 2], [1, 3]])


def everywhere(pairs: Tensor, n_views: int = 1) -> tuple[Tensor, Tensor]:
    """Every pixel with every pair."""
    pixel = torch.arange(n_views * HEIGHT * WIDTH).repeat_interleave(len(pairs))
    return pixel, pairs.repeat(n_views * HEIGHT * WIDTH, 1)


def find(verts_hom: Tensor, faces: Tensor, pixel: Tensor, pair: Tensor, backend: str) -> Intersections:
    return intersections(verts_hom, faces, pixel, pair, HEIGHT, WIDTH, backend=backend)


def lengths(found: Intersections) -> Tensor:
    """[I] of the pieces: the areas that a face and the other sweep, going against one another, add up."""
    return (found.normal_px[:, 0] - found.normal_px[:, 1]).double().norm(dim=1)


def quad(origin: list[float], u: list[float], v: list[float]) -> Tensor:
    """[4, 3] corners of origin +- u +- v."""
    o, u_, v_ = (torch.tensor(p, dtype=torch.float64) for p in (origin, u, v))
    return torch.stack([o - u_ - v_, o + u_ - v_, o + u_ + v_, o - u_ + v_])


@every_backend
@both_dtypes
@pytest.mark.parametrize("depth", [2.0, 1.0])  # 1 is also what w is: yet it is an orthographic view
def test_worked_example(backend: str, dtype: torch.dtype, depth: float) -> None:
    # Orthographic: face 0 is level, face 1 rises by 1 a pixel to the right and passes it at x = 4.25.
    level = [[0, 0, depth], [20, 0, depth], [0, 20, depth]]
    slope = [[x, y, depth + x - 4.25] for x, y, _ in level]
    verts = parallel_points(torch.tensor([level + slope], dtype=dtype))
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    pixel = torch.tensor([2 * WIDTH + 4, 2 * WIDTH + 5])  # the line does not pass the second
    found = find(verts, faces, pixel, torch.tensor([[0, 1], [0, 1]]), backend)
    assert found.pixel.tolist() == [2 * WIDTH + 4] * 4 and found.face.tolist() == [[0, 1]] * 4
    y = 2.125 + 0.25 * torch.arange(4, dtype=torch.float64)
    torch.testing.assert_close(found.xy_px, torch.stack([torch.full_like(y, 4.25), y], 1))
    bary = torch.stack([1 - (4.25 + y) / 20, torch.full_like(y, 4.25 / 20), y / 20], 1).to(dtype)
    torch.testing.assert_close(found.bary, bary[:, None].expand(4, 2, 3))
    torch.testing.assert_close(found.depth, torch.full_like(y, depth))
    # Face 1 is seen on the left. A quarter of a pixel of line: face 1 gains d / 4 if it moves by d to the right, and
    # z / 4 if face 0 falls behind by z; moving face 0 sideways does nothing.
    torch.testing.assert_close(found.normal_px, torch.tensor([[0, 0], [0.25, 0]], dtype=dtype).expand(4, 2, 2))
    torch.testing.assert_close(found.depth_weight, torch.full((4, 2), -0.25, dtype=dtype))
    assert found.bary.dtype == found.normal_px.dtype == found.depth_weight.dtype == dtype
    assert found.xy_px.dtype == found.depth.dtype == torch.float64


@every_backend
def test_worked_example_in_perspective(backend: str) -> None:
    # A wall at depth 4, and one that comes nearer to the right, depth 4 - 2 x_c: they meet in x_c = 0, the middle
    # column of the image. There depth falls by 2 per unit, a unit is 25 / 4 px, so by 0.32 a pixel.
    level = quad([0, 0, 4], [9, 0, 0], [0, 9, 0])
    tilted = quad([0, 0, 4], [1, 0, -2], [0, 9, 0])
    verts = perspective_points(torch.cat([level, tilted]))[None]
    pixel = torch.tensor([10 * WIDTH + WIDTH // 2]).repeat(4)
    found = find(verts, QUADS, pixel, QUAD_PAIRS, backend)
    assert float(lengths(found).sum()) == pytest.approx(1)
    torch.testing.assert_close(found.xy_px[:, 0], torch.full_like(found.depth, WIDTH / 2))
    torch.testing.assert_close(found.depth, torch.full_like(found.depth, 4))
    # The tilted wall is seen on the right: it gains by moving left, and the line goes by 1 / 0.32 px a unit of depth.
    expected = torch.tensor([[0.0, 0], [-1, 0]], dtype=torch.float64)
    torch.testing.assert_close(found.normal_px.sum(0), expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(found.depth_weight.sum(0), torch.tensor([-1 / 0.32, -1 / 0.32], dtype=torch.float64))


def crossing_quads(kind: str) -> tuple[Tensor, tuple[float, float], tuple[float, float]]:
    """Two quads [1, 8, 4], and the ends of their line of intersection in the image."""
    if kind == "orthographic":
        # Depths 5 and 5 + (x - 12.3) - 0.4 (y - 9.7); quad 1 is a parallelogram that ends the line at its edges.
        level = quad([12.3, 9.7, 5], [9, 0, 0], [0, 8, 0])
        tilted = quad([12.3, 9.7, 5], [6, 0, 6], [0.4 * 5, 5, 0])
        return parallel_points(torch.cat([level, tilted]))[None], (10.3, 4.7), (14.3, 14.7)
    # Both hold the segment from (-0.5, -0.3, 2) to (0.6, 0.35, 4), which ends quad 0; quad 1 reaches further.
    middle, half = [0.05, 0.025, 3.0], [0.55, 0.325, 1.0]
    first = quad(middle, half, [0.1, 0.4, -0.2])
    second = quad(middle, [1.2 * h for h in half], [-0.5, 0.3, 0.1])
    ends = perspective_points(torch.tensor([[-0.5, -0.3, 2], [0.6, 0.35, 4]], dtype=torch.float64))
    (ax, ay), (bx, by) = (ends[:, :2] / ends[:, 2:3]).tolist()
    return perspective_points(torch.cat([first, second]))[None], (ax, ay), (bx, by)


@every_backend
@both_dtypes
@pytest.mark.parametrize("kind", ["orthographic", "perspective"])
def test_the_line_of_two_crossing_quads(kind: str, dtype: torch.dtype, backend: str) -> None:
    verts, (ax, ay), (bx, by) = crossing_quads(kind)
    found = find(verts.to(dtype), QUADS, *everywhere(QUAD_PAIRS), backend)
    exact = dtype == torch.float64
    assert float(lengths(found).sum()) == pytest.approx(math.hypot(bx - ax, by - ay), rel=1e-9 if exact else 1e-4)
    assert float(lengths(found).max()) <= SEGMENT_PX * (1 + 1e-5)
    # Every middle is on the line, between its ends, in its pixel.
    x, y = found.xy_px.unbind(1)
    off_line = ((x - ax) * (by - ay) - (y - ay) * (bx - ax)) / math.hypot(bx - ax, by - ay)
    assert float(off_line.abs().max()) < (1e-9 if exact else 1e-3)
    share = (y - ay) / (by - ay)
    assert float(share.min()) > 0 and float(share.max()) < 1
    column, row = found.pixel % WIDTH, found.pixel // WIDTH
    inside = torch.stack([x - column, y - row])
    assert float(inside.min()) >= -1e-9 and float(inside.max()) <= 1 + 1e-9
    # The middle is the same point of both faces.
    points = (verts.to(dtype)[0, QUADS[found.face]] * found.bary[..., None]).sum(2).double()
    tolerance = 1e-9 if exact else 1e-3
    torch.testing.assert_close(points[..., :2] / points[..., 2:3], found.xy_px[:, None].expand(-1, 2, 2),
                               rtol=tolerance, atol=tolerance)  # fmt: skip
    depth = points[..., 3] / points[..., 2] if kind == "orthographic" else points[..., 3]
    torch.testing.assert_close(depth, found.depth[:, None].expand(-1, 2), rtol=tolerance, atol=tolerance)
    assert bool((found.bary >= -1e-6).all())


@every_backend
def test_the_line_ends_at_the_smaller_triangle_and_at_the_image(backend: str) -> None:
    # The line x = 12.5, from y = -5 to 40, on a large sheet; a triangle has it from y = 6.5 to 16.5.
    sheet = torch.tensor([[-50.0, -50, 3], [150, -50, 3], [-50, 150, 3]])
    small = torch.tensor([[7.5, 1.5, -2], [17.5, 11.5, 8], [7.5, 21.5, -2]])  # depth = 3 + x - 12.5
    tall = torch.tensor([[7.5, -50.0, -2], [17.5, 15, 8], [7.5, 80, -2]])
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    for upper, first, last in ((small, 6.5, 16.5), (tall, 0, HEIGHT)):
        verts = parallel_points(torch.cat([sheet, upper]).double())[None]
        found = find(verts, faces, *everywhere(torch.tensor([[0, 1]])), backend)
        assert float(lengths(found).sum()) == pytest.approx(last - first, rel=1e-9)
        assert first < float(found.xy_px[:, 1].min()) < first + SEGMENT_PX
        assert last - SEGMENT_PX < float(found.xy_px[:, 1].max()) < last
        torch.testing.assert_close(found.xy_px[:, 0], torch.full_like(found.depth, 12.5))


@every_backend
@pytest.mark.parametrize("axis", [0, 1])
def test_a_line_along_the_side_of_a_pixel_is_in_one_pixel(axis: int, backend: str) -> None:
    # Through all of the image, at each column or row, in spite of rounding: slopes and depths are no round numbers.
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    corners = torch.tensor([[-50.3, -50.7], [150.1, -50.7], [-50.3, 150.9]], dtype=torch.float64)
    level = torch.cat([corners, corners.new_full((3, 1), 3.1)], 1)
    for side in range(1, (WIDTH, HEIGHT)[axis]):
        slope = torch.cat([corners, 3.1 + 0.37 * (corners[:, axis : axis + 1] - side)], 1)
        verts = parallel_points(torch.cat([level, slope]))[None]
        found = find(verts, faces, *everywhere(torch.tensor([[0, 1]])), backend)
        assert float(lengths(found).sum()) == pytest.approx((HEIGHT, WIDTH)[axis], rel=1e-6)
        column_row = torch.stack([found.pixel % WIDTH, found.pixel // WIDTH % HEIGHT])
        assert bool((column_row[axis] == side).all())


@every_backend
def test_swapping_the_faces_swaps_the_sides(backend: str) -> None:
    verts, _, _ = crossing_quads("perspective")
    pixel, pair = everywhere(QUAD_PAIRS)
    found, swapped = find(verts, QUADS, pixel, pair, backend), find(verts, QUADS, pixel, pair.flip(1), backend)
    assert len(found.pixel) == len(swapped.pixel)

    def rows(part: Intersections, flip: bool) -> Tensor:
        sides = [part.face.double(), part.bary, part.normal_px, part.depth_weight]
        flat = [(side.flip(1) if flip else side).reshape(len(part.pixel), -1) for side in sides]
        return torch.cat([part.pixel[:, None].double(), *flat, part.xy_px, part.depth[:, None]], 1)

    a, b = rows(found, False), rows(swapped, True)  # the line runs the other way: sort along it
    a, b = (table[table[:, -2].argsort(stable=True)] for table in (a, b))
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def part_of_pixel(verts_hom: Tensor, faces: Tensor, pair: list[int], column: int, row: int) -> float:
    """The share of a pixel, inside both faces, in which face pair[0] is nearer: by the faces' planes, row by row."""
    planes = []
    for face in pair:
        corners = verts_hom[faces[face]]
        is_perspective = bool((corners[:, 2] == corners[:, 3]).all())
        nearness = 1 / corners[:, 3] if is_perspective else -corners[:, 3]
        image = torch.cat([corners[:, :2] / corners[:, 2:3], torch.ones(3, 1, dtype=torch.float64)], 1)
        planes.append(torch.linalg.solve(image, nearness))
    a, b, c = (planes[0] - planes[1]).tolist()
    y = row + (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000
    zero = (-(b * y + c) / a - column).clamp(0, 1)
    return float((1 - zero if a > 0 else zero).mean())


@every_backend
@pytest.mark.parametrize("kind", ["orthographic", "perspective"])
def test_normal_and_rise_are_the_area_that_is_gained(kind: str, backend: str) -> None:
    generator = torch.Generator().manual_seed(2)
    column, row = 20, 14
    for _ in range(5):
        # Two faces that cover all of a pixel and meet near its middle.
        corners = torch.tensor([[[0.0, 1.0], [40, -6], [22, 40]], [[42, 3], [20, 34], [-3, 4]]], dtype=torch.float64)
        slopes = 0.1 * torch.randn(2, 2, generator=generator, dtype=torch.float64)
        shift = torch.rand(2, generator=generator, dtype=torch.float64) * 0.4 - 0.2
        away = corners - torch.tensor([column + 0.5, row + 0.5]) - shift
        tilt = 0.1 * (away * slopes[:, None]).sum(-1).reshape(6, 1)
        depth = 4 / (1 + tilt) if kind == "perspective" else 4 + tilt
        image = corners.reshape(6, 2)
        w = depth if kind == "perspective" else torch.ones_like(depth)
        verts = torch.cat([image * w, w, depth], 1)
        faces = torch.arange(6).reshape(2, 3)
        pixel, pair = torch.tensor([row * WIDTH + column]), torch.tensor([[0, 1]])
        found = find(verts[None], faces, pixel, pair, backend)
        assert float(lengths(found).sum()) > 0.5

        def area(k: int, move: Tensor, verts: Tensor = verts, faces: Tensor = faces) -> float:
            moved = verts.clone()
            moved[3 * k : 3 * k + 3] += move[3 * k : 3 * k + 3]
            return part_of_pixel(moved, faces, [k, 1 - k], column, row)

        step = 1e-4
        for k in range(2):
            for axis in range(2):  # all points of face k move by a step in the image
                move = torch.zeros(6, 4, dtype=torch.float64)
                move[:, axis] = step * w[:, 0]
                gained = (area(k, move) - area(k, -move)) / (2 * step)
                assert float(found.normal_px[:, k, axis].sum()) == pytest.approx(gained, abs=1e-4)
            # All points move along their rays, in proportion to their depth, or by one amount where rays are parallel.
            away_by = found.depth if kind == "perspective" else torch.ones_like(found.depth)
            move = verts.clone() if kind == "perspective" else torch.tensor([0.0, 0, 0, 1]).double().expand(6, 4)
            gained = (area(k, step * move) - area(k, -step * move)) / (2 * step)
            assert float((found.depth_weight[:, k] * away_by).sum()) == pytest.approx(gained, rel=1e-3, abs=1e-3)


@every_backend
@both_dtypes
def test_pairs_in_nearly_one_plane_have_no_line(backend: str, dtype: torch.dtype) -> None:
    # Two tilted sheets, the second turned by ever less about an axis in the first.
    points = torch.tensor([[2.0, 2, 3], [30, 2, 5], [2, 25, 4]], dtype=torch.float64)
    for turn, is_line in ((1e-1, True), (1e-3, True), (1e-7, False), (0.0, False)):
        other = points.clone()
        other[:, 2] += turn * (points[:, 0] - 10.3)
        verts = parallel_points(torch.cat([points, other])).to(dtype)[None]
        pixel, pair = everywhere(torch.tensor([[0, 1]]))
        found = find(verts, torch.tensor([[0, 1, 2], [3, 4, 5]]), pixel, pair, backend)
        assert (len(found.pixel) > 0) == is_line
        assert len(found.pixel) == 0 or float(found.depth_weight.abs().max()) <= 0.26 / turn


@every_backend
@both_dtypes
def test_parallel_and_degenerate_pairs_do_not_intersect(backend: str, dtype: torch.dtype) -> None:
    points = torch.tensor([[2.0, 2, 1], [30, 2, 2], [2, 25, 3], [2, 2, 2], [30, 2, 3], [2, 25, 4], [9, 9, 2]])
    faces = torch.tensor([[0, 1, 2], [3, 4, 5], [0, 0, 1], [6, 6, 6], [0, 1, 2]])
    pairs = torch.tensor([[0, 1], [0, 0], [0, 4], [0, 2], [2, 3], [3, 1], [3, 3]])
    for verts in (parallel_points(points), perspective_points(points)):
        found = find(verts.to(dtype)[None], faces, *everywhere(pairs), backend)
        # In perspective faces 0 and 1 are parallel in space, not in nearness, and still have no point in common.
        assert len(found.pixel) == 0


@every_backend_and_dtype
@every_soup
@pytest.mark.parametrize("size", [1e-6, 1e6, 1e20, 1e30, torch.inf, torch.nan])
def test_huge_tiny_and_broken_coordinates(kind: str, backend: str, dtype: torch.dtype, size: float) -> None:
    verts, *more = intersections_problem(kind, dtype, seed=5)
    verts[:, :6] *= size
    found = intersections(verts, *more, backend=backend)
    assert len(found.pixel) > 10
    assert_all_finite(found)
    assert float(lengths(found).max()) <= SEGMENT_PX * (1 + 1e-4)
    assert float(found.xy_px.min()) >= -1e-6 and float(found.xy_px.max()) <= WIDTH + 1e-6


@every_backend_and_dtype
def test_views_together_are_the_views_one_by_one(backend: str, dtype: torch.dtype) -> None:
    verts, faces, pixel, pair, _, _ = intersections_problem("crossing", dtype, n_views=3, seed=3)
    together = find(verts, faces, pixel, pair, backend)
    for n in range(3):
        asked, mine = pixel // (HEIGHT * WIDTH) == n, together.pixel // (HEIGHT * WIDTH) == n
        alone = find(verts[n : n + 1], faces, pixel[asked] - n * HEIGHT * WIDTH, pair[asked], backend)
        assert len(alone.pixel) > 10
        assert_same_bits(together.pixel[mine] - n * HEIGHT * WIDTH, alone.pixel)
        assert_same_bits(tuple(part[mine] for part in together[1:]), alone[1:])


@every_backend
def test_one_pixel(backend: str) -> None:
    # One pixel, which the line x = y passes from corner to corner.
    level, tilted = [[-9, -9, 3], [30, -9, 3], [-9, 30, 3]], [[-9, -9, 3], [30, -9, 42], [-9, 30, -36]]
    verts = parallel_points(torch.tensor([level + tilted], dtype=torch.float64))
    faces, zero = torch.tensor([[0, 1, 2], [3, 4, 5]]), torch.zeros(1, dtype=torch.int64)
    found = intersections(verts, faces, zero, torch.tensor([[0, 1]]), 1, 1, backend=backend)
    assert len(found.pixel) == 6 and float(lengths(found).sum()) == pytest.approx(2**0.5)
    torch.testing.assert_close(found.xy_px[:, 0], found.xy_px[:, 1])
