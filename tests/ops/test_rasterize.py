from __future__ import annotations

import pytest
import torch
from support.triangle_soups import (
    HEIGHT,
    WIDTH,
    assert_all_finite,
    assert_same_bits,
    both_dtypes,
    every_backend,
    every_backend_and_dtype,
    parallel_points,
    perspective_points,
    raster_of,
    soup,
)
from torch import Tensor

from diffrender.ops.rasterize import rasterize
from diffrender.ops.rasterize.numba_cpu import TILE

ONE = torch.tensor([[0, 1, 2]])


@every_backend
@both_dtypes
def test_worked_example_of_a_triangle(backend: str, dtype: torch.dtype) -> None:
    # x / 4 + y / 3 <= 1: three pixel centres in the first row, two in the second, one in the third.
    verts = parallel_points(torch.tensor([[[0, 0, 1], [4, 0, 2], [0, 3, 3]]], dtype=dtype))
    face_id, depth, _ = rasterize(verts, ONE, 3, 4, backend=backend)
    assert face_id[0, :, :, 0].tolist() == [[0, 0, 0, -1], [0, 0, -1, -1], [0, -1, -1, -1]]
    # At (.5, .5) the weights are 17/24, 3/24, 4/24.
    assert depth[0, 0, 0, 0].item() == pytest.approx((17 + 2 * 3 + 3 * 4) / 24, rel=1e-6)
    assert depth[0, 2, 3, 0].item() == 0
    assert depth.dtype == dtype


@every_backend
def test_depth_is_perspective_correct(backend: str) -> None:
    w = torch.tensor([1.0, 2, 4])
    xy = torch.tensor([[0.0, 0], [4, 0], [0, 3]])
    verts = torch.cat([xy * w[:, None], w[:, None], w[:, None]], 1)[None]
    depth = rasterize(verts, ONE, 3, 4, backend=backend).depth
    # 1 / depth is linear in the image: 17/24 / 1 + 3/24 / 2 + 4/24 / 4 = 13/16.
    assert depth[0, 0, 0, 0].item() == pytest.approx(16 / 13, rel=1e-6)


@every_backend
def test_layers_are_sorted_by_depth_and_ties_by_face(backend: str) -> None:
    depths = torch.tensor([3.0, 1, 2, 1])
    corners = torch.tensor([[-9.0, -9], [9, -9], [0, 30]])
    points = torch.cat([corners.repeat(4, 1), depths.repeat_interleave(3)[:, None]], 1)
    verts, faces = parallel_points(points)[None], torch.arange(12).reshape(4, 3)
    for layers in range(1, 7):
        face_id, depth, _ = rasterize(verts, faces, 1, 1, layers=layers, backend=backend)
        assert face_id.flatten().tolist() == [1, 3, 2, 0, -1, -1][:layers]
        assert depth.flatten().tolist() == [1, 1, 2, 3, 0, 0][:layers]


@every_backend
def test_both_sides_are_drawn_and_facing_says_which(backend: str) -> None:
    points = torch.tensor([[[0.0, 0, 1], [8, 0, 1], [0, 8, 1], [16, 0, 1]]])
    # y runs down: the first one runs clockwise as seen, the last one is edge-on.
    faces = torch.tensor([[0, 1, 2], [0, 2, 1], [0, 1, 3]])
    raster = rasterize(parallel_points(points), faces, 8, 8, layers=3, backend=backend)
    assert raster.bins.facing.tolist() == [[-1, 1, 1]]
    assert raster.bins.facing.dtype == torch.int8
    assert raster.face_id[0, 0, 0].tolist() == [0, 1, -1]


def cast_rays(points_c: Tensor, faces: Tensor, focal_px: float, near: float) -> tuple[Tensor, Tensor]:
    """(face_id, depth) [H, W] by intersecting the ray of each pixel with each triangle, all in camera space."""
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    x, y = x.double(), y.double()
    ray = torch.stack([(x - WIDTH / 2) / focal_px, (y - HEIGHT / 2) / focal_px, torch.ones_like(x)], -1)
    a, b, c = points_c[faces].unbind(1)
    columns = torch.stack([b - a, c - a, torch.zeros_like(a)], 2).expand(HEIGHT, WIDTH, -1, 3, 3).clone()
    columns[..., 2] = -ray[:, :, None]
    u, v, depth = torch.linalg.solve(columns, (-a).expand(HEIGHT, WIDTH, -1, 3)).unbind(-1)
    hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (depth >= near)
    depth, face_id = depth.where(hit, torch.inf).min(2)
    return face_id.where(depth < torch.inf, -1), depth.where(depth < torch.inf, 0)


@every_backend
@pytest.mark.parametrize("seed", range(3))
def test_sees_what_rays_hit_also_across_the_camera(backend: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(30, 3, generator=generator, dtype=torch.float64) * 4 - torch.tensor([2, 2, 1.5])
    faces = torch.randperm(30, generator=generator).reshape(10, 3)
    assert bool((points[faces, 2] < 0).any(1).any())
    raster = raster_of(perspective_points(points)[None], faces, backend)
    face_id, depth = cast_rays(points, faces, 25.0, near=0.1)
    assert torch.equal(raster.face_id[0, ..., 0], face_id)
    torch.testing.assert_close(raster.depth[0, ..., 0], depth, rtol=1e-9, atol=1e-12)


@every_backend
def test_a_floor_that_passes_the_camera_is_clipped_exactly(backend: str) -> None:
    floor = perspective_points(torch.tensor([[[-90.0, 1, -50], [90, 1, -50], [0, 1, 200]]]))
    near = 2.5
    raster = raster_of(floor, ONE, backend, near=near)
    below_horizon = torch.arange(HEIGHT) + 0.5 - HEIGHT / 2
    expected = 25.0 / below_horizon.clamp_min(1e-9)  # depth of the plane y = 1 in each row
    seen = (below_horizon > 25.0 / 60) & (expected >= near)  # the floor is wide enough up to there
    assert bool(seen.any()) and not bool(seen[-1])
    middle = raster.depth[0, :, WIDTH // 2, 0]
    torch.testing.assert_close(middle[seen], expected[seen], rtol=1e-5, atol=0)
    assert not bool(middle[expected < near].any()) and not bool(middle[below_horizon <= 0].any())


def tiling(seed: int, step: float) -> tuple[Tensor, Tensor]:
    """(points [V, 2] on multiples of `step` px, faces) of triangles that tile a rectangle larger than the image."""
    generator = torch.Generator().manual_seed(seed)
    n_x, n_y = 12, 9
    x, y = torch.meshgrid(torch.arange(n_x) * 6 - 8, torch.arange(n_y) * 6 - 8, indexing="ij")
    points = torch.stack([x, y], -1).double()
    points[1:-1, 1:-1] += (torch.rand(n_x - 2, n_y - 2, 2, generator=generator) * 4 - 2).double()
    points = (points / step).round() * step
    quad = torch.arange(n_x * n_y).reshape(n_x, n_y)
    a, b, c, d = (q.reshape(-1) for q in (quad[:-1, :-1], quad[1:, :-1], quad[1:, 1:], quad[:-1, 1:]))
    faces = torch.stack([torch.stack([a, b, c], 1), torch.stack([a, c, d], 1)], 1).reshape(-1, 3)
    turned = torch.rand(len(faces), generator=generator) < 0.5
    faces[turned] = faces[turned].flip(1)
    return points.reshape(-1, 2), faces[torch.randperm(len(faces), generator=generator)]


@every_backend_and_dtype
@pytest.mark.parametrize("step", [0.5, 0.25, 1e-6], ids=("through centres", "between", "anywhere"))
def test_triangles_that_share_edges_cover_each_pixel_once(backend: str, dtype: torch.dtype, step: float) -> None:
    for seed in range(4):
        points, faces = tiling(seed, step)
        w = 2.0 ** torch.randint(-2, 3, (len(points), 1), generator=torch.Generator().manual_seed(seed))
        verts = torch.cat([points * w, w, w], 1)[None].to(dtype)
        face_id = raster_of(verts, faces, backend, layers=2).face_id
        assert bool((face_id[..., 0] >= 0).all()), "a gap"
        assert bool((face_id[..., 1] < 0).all()), "a pixel is covered twice"


@every_backend
def test_top_left_rule(backend: str) -> None:
    # A square whose corners are pixel centres owns its top and left edges and not the others.
    square = torch.tensor([[0.5, 0.5, 1], [2.5, 0.5, 1], [2.5, 2.5, 1], [0.5, 2.5, 1]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    face_id = rasterize(parallel_points(square)[None], faces, 4, 4, layers=2, backend=backend).face_id[0]
    assert (face_id[..., 0] >= 0).int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert bool((face_id[..., 1] < 0).all())


@every_backend
@pytest.mark.parametrize("step", [(1, 0), (0, 1), (-3, 5), (20, -17)])
def test_a_whole_pixel_shift_shifts_the_ids(backend: str, step: tuple[int, int]) -> None:
    points, faces = tiling(5, 0.5)
    points = points / 2 + torch.tensor([5, 4])
    verts = parallel_points(torch.cat([points, torch.ones(len(points), 1)], 1))[None]
    moved = verts + torch.tensor([*step, 0, 0])
    dx, dy = step
    before = raster_of(verts, faces, backend).face_id[0, ..., 0]
    after = raster_of(moved, faces, backend).face_id[0, ..., 0]
    rows = range(max(0, -dy), min(HEIGHT, HEIGHT - dy))
    columns = range(max(0, -dx), min(WIDTH, WIDTH - dx))
    for i in rows:
        for j in columns:
            assert after[i + dy, j + dx] == before[i, j]


@every_backend_and_dtype
def test_views_together_are_the_views_one_by_one(backend: str, dtype: torch.dtype) -> None:
    verts, faces = soup("crossing", 3, n_views=3, dtype=dtype)
    together = raster_of(verts, faces, backend, layers=2)
    for view in range(3):
        alone = raster_of(verts[view : view + 1], faces, backend, layers=2)
        assert_same_bits((together.face_id[view], together.depth[view]), (alone.face_id[0], alone.depth[0]))
        assert_same_bits((together.bins.facing[view], together.bins.bounds[view]), (alone.bins[0][0], alone.bins[1][0]))


def test_tile_lists_hold_the_faces_of_each_tile_in_order() -> None:
    verts, faces = soup("crossing", 2, n_faces=200)
    bins = raster_of(verts, faces, "numba").bins
    tiles_x, tiles_y = -(-WIDTH // TILE), -(-HEIGHT // TILE)
    assert len(bins.tile_offset) == 2 * tiles_x * tiles_y + 1
    low, high = bins.bounds[..., :2].long(), bins.bounds[..., 2:].long()
    for tile in range(2 * tiles_x * tiles_y):
        view, row, column = tile // (tiles_x * tiles_y), tile // tiles_x % tiles_y, tile % tiles_x
        first = torch.tensor([column, row]) * TILE
        touches = ((low[view] <= high[view]) & (low[view] < first + TILE) & (high[view] >= first)).all(1)
        listed = bins.tile_faces[bins.tile_offset[tile] : bins.tile_offset[tile + 1]]
        assert listed.tolist() == torch.nonzero(touches)[:, 0].tolist()


@every_backend
def test_nothing_to_see(backend: str) -> None:
    verts, faces = soup("in_front", 0)
    behind = verts * torch.tensor([1, 1, -1, -1])
    aside = verts + verts[..., 2:3] * torch.tensor([1000.0, 0, 0, 0])
    for case, case_faces in ((verts, faces[:0]), (verts[:, :0], faces[:0]), (behind, faces), (aside, faces)):
        face_id, depth, _ = raster_of(case, case_faces, backend, layers=2)
        assert face_id.shape == (2, HEIGHT, WIDTH, 2)
        assert bool((face_id == -1).all()) and not bool(depth.any())
    assert raster_of(verts[:0], faces, backend).face_id.shape == (0, HEIGHT, WIDTH, 1)


@every_backend
def test_faces_without_area_cover_nothing(backend: str) -> None:
    points = torch.tensor([[[-9.0, 2.5, 1], [99, 2.5, 1], [40, 2.5, 1], [-9, -9, 1], [5, 5, 1], [19, 19, 1]]])
    faces = torch.tensor([[0, 1, 2], [3, 4, 5], [0, 0, 1], [4, 4, 4]])
    assert bool((raster_of(parallel_points(points), faces, backend).face_id == -1).all())


@every_backend
@both_dtypes
def test_edge_on_faces_through_pixel_centres_and_the_camera(backend: str, dtype: torch.dtype) -> None:
    # Rounding gives this edge-on face (x = 32.5 everywhere) a determinant, but at the pixel centres of its column all
    # three edge functions vanish exactly.
    x = torch.tensor([64.365234375, -20.97900390625, -0.3434181213378906], dtype=dtype)
    y = torch.tensor([-0.2203044444322586, -0.0038950988091528416, 1.4785118103027344], dtype=dtype)
    w = torch.tensor([1.98046875, -0.6455078125, -0.01056671142578125], dtype=dtype)
    raster = rasterize(torch.stack([x, y, w, w], 1)[None], ONE, 8, 65, backend=backend)
    assert bool((raster.face_id == -1).all()) and not bool(raster.depth.any())


@every_backend_and_dtype
@pytest.mark.parametrize("size", [1e6, 1e20, 1e30, torch.inf, torch.nan])
def test_huge_and_broken_coordinates(backend: str, dtype: torch.dtype, size: float) -> None:
    generator = torch.Generator().manual_seed(7)
    points = (torch.rand(90, 3, generator=generator, dtype=torch.float64) - torch.tensor([0.5, 0.5, 0.2])).to(dtype)
    points[:60] *= size
    faces = torch.cat([torch.arange(90).reshape(30, 3), torch.randint(90, (30, 3), generator=generator)])
    verts = perspective_points(points)[None]
    raster = raster_of(verts, faces, backend, layers=3)
    assert_all_finite(raster)
    assert torch.equal(raster.face_id, raster_of(verts, faces, "reference", layers=3).face_id)
    if size == 1e6:
        assert bool((raster.face_id >= 0).any())


@every_backend
def test_a_triangle_smaller_than_a_pixel_is_seen_where_it_covers_a_centre(backend: str) -> None:
    small = torch.tensor([[7.49, 4.49, 2], [7.52, 4.49, 2], [7.49, 4.52, 2]])
    beside = small + torch.tensor([0.02, 0.02, 0])
    verts = parallel_points(torch.cat([small, beside]))[None]
    face_id = raster_of(verts, torch.tensor([[3, 4, 5], [0, 1, 2]]), backend).face_id[0, ..., 0]
    assert torch.nonzero(face_id >= 0).tolist() == [[4, 7]]
    assert face_id[4, 7] == 1


@every_backend
def test_one_pixel_and_one_row(backend: str) -> None:
    verts = parallel_points(torch.tensor([[[-5.0, -5, 1], [50, -5, 1], [-5, 50, 1]]]))
    assert rasterize(verts, ONE, 1, 1, backend=backend).face_id.tolist() == [[[[0]]]]
    assert rasterize(verts, ONE, 1, 33, backend=backend).face_id.flatten().tolist() == [0] * 33
    assert rasterize(verts, ONE, 33, 1, backend=backend).face_id.flatten().tolist() == [0] * 33


def test_the_top_left_rule_survives_a_processor_that_flushes_tiny_numbers_to_zero() -> None:
    points, faces = tiling(0, 0.5)
    verts = parallel_points(torch.cat([points, torch.ones(len(points), 1)], 1).float())[None]
    expected = raster_of(verts, faces, "numba", layers=2)
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormal numbers")
    try:
        for layers in (1, 2):  # each has its own loop
            found = raster_of(verts, faces, "numba", layers=layers)
            assert torch.equal(found.face_id, expected.face_id[..., :layers])
    finally:
        torch.set_flush_denormal(False)
