from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from support.op_problems import points_in_image
from support.triangle_soups import (
    HEIGHT,
    INTERPRETED,
    WIDTH,
    assert_all_finite,
    assert_same_bits,
    both_dtypes,
    every_backend,
    every_backend_and_dtype,
    every_soup,
    parallel_points,
    raster_of,
    soup,
)
from torch import Tensor

from diffrender.ops.query_visibility import query_visibility
from diffrender.ops.rasterize import Raster, rasterize


def visible_at(
    verts_hom: Tensor, faces: Tensor, view: Tensor, xy_px: Tensor, backend: str, raster: Raster | None = None
) -> tuple[Tensor, Tensor]:
    bins = (raster or raster_of(verts_hom, faces, backend)).bins
    return query_visibility(verts_hom, faces, view, xy_px, HEIGHT, WIDTH, bins=bins, near=0.1, backend=backend)


@every_backend
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    # A triangle x / 4 + y / 3 <= 1 with depths 1, 2, 3, before a large one of depth 5.
    points = [[0, 0, 1], [4, 0, 2], [0, 3, 3], [-90, -90, 5], [90, -90, 5], [0, 300, 5]]
    verts = parallel_points(torch.tensor([points], dtype=dtype))
    faces = torch.tensor([[3, 4, 5], [0, 1, 2]])
    raster = rasterize(verts, faces, 3, 4, backend=backend)
    xy = torch.tensor([[1.0, 1.0], [3.99, 0.001], [3.99, 0.02], [0.25, 2.5]], dtype=dtype)
    view = torch.zeros(4, dtype=torch.int64)
    face_id, depth = query_visibility(verts, faces, view, xy, 3, 4, bins=raster.bins, backend=backend)
    assert face_id.tolist() == [1, 1, 0, 1]
    # depth = 1 + (x / 4) 1 + (y / 3) 2
    assert depth.tolist() == pytest.approx(
        [1 + 1 / 4 + 2 / 3, 1 + 3.99 / 4 + 0.002 / 3, 5, 1 + 1 / 16 + 5 / 3], rel=1e-6
    )
    assert depth.dtype == dtype


@every_backend_and_dtype
@every_soup
def test_at_pixel_centres_it_is_rasterize(kind: str, dtype: torch.dtype, backend: str) -> None:
    verts, faces = soup(kind, 1, dtype=dtype)
    raster = raster_of(verts, faces, backend)
    pixel = torch.randperm(2 * HEIGHT * WIDTH, generator=torch.Generator().manual_seed(0))
    xy = torch.stack([pixel % WIDTH, pixel // WIDTH % HEIGHT], 1).to(dtype) + 0.5
    face_id, depth = visible_at(verts, faces, pixel // (HEIGHT * WIDTH), xy, backend, raster)
    assert torch.equal(face_id, raster.face_id.reshape(-1)[pixel])
    assert torch.equal(depth, raster.depth.reshape(-1)[pixel])


@every_backend
def test_points_on_shared_edges_see_exactly_one_face(backend: str) -> None:
    # A fan around a centre of four corners; points on its spokes and on the centre itself.
    ring = torch.tensor([[2.0, 2, 1], [12, 4, 1], [10, 14, 1], [3, 11, 1], [6, 7, 1]])
    verts = parallel_points(ring)[None]
    faces = torch.tensor([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]])
    t = torch.tensor([0.0, 0.25, 0.5, 0.75])  # these places are exact in binary
    xy = torch.cat([ring[4, :2] + t[:, None] * (ring[i, :2] - ring[4, :2]) for i in range(4)])
    view = torch.zeros(len(xy), dtype=torch.int64)
    alone = torch.stack([visible_at(verts, faces[f : f + 1], view, xy, backend)[0] for f in range(4)])
    assert (alone >= 0).sum(0).tolist() == [1] * len(xy)
    assert torch.equal(visible_at(verts, faces, view, xy, backend)[0], (alone >= 0).int().argmax(0))


@every_backend
def test_of_equal_depths_the_lower_face_is_seen(backend: str) -> None:
    verts = parallel_points(torch.tensor([[[0.0, 0, 2], [40, 0, 2], [0, 40, 2], [40, 40, 2]]]))
    faces = torch.tensor([[0, 2, 3], [0, 1, 2], [2, 0, 1]])
    view = torch.zeros(1, dtype=torch.int64)
    assert visible_at(verts, faces, view, torch.tensor([[3.3, 3.2]]), backend)[0].tolist() == [1]


@every_backend
def test_outside_the_image_only_what_touches_its_border_is_seen(backend: str) -> None:
    # The first triangle reaches from inside over the left border, the second lies wholly outside.
    points = torch.tensor([[[-9.0, 3, 1], [5, 3, 1], [5, 20, 1], [-9, 10, 2], [-2, 10, 2], [-2, 28, 2]]])
    verts, faces = parallel_points(points), torch.tensor([[0, 1, 2], [3, 4, 5]])
    xy = torch.tensor([[-0.5, 5.0], [-3.0, 12.0]])
    face_id, depth = visible_at(verts, faces, torch.zeros(2, dtype=torch.int64), xy, backend)
    assert face_id.tolist() == [0, -1]
    assert depth.tolist() == [1, 0]


@every_backend
def test_points_far_away_are_at_the_nearest_border(backend: str) -> None:
    # The triangle runs from the last column of pixels to the right, without end as far as a point can tell.
    verts = parallel_points(torch.tensor([[[WIDTH - 0.9, 5, 1], [1e30, -1e30, 1], [1e30, 1e30, 1]]]))
    xy = torch.tensor([[WIDTH + 9.0, 5.0], [1e10, 5], [1e25, 5], [-1e25, 5]])
    face_id, _ = visible_at(verts, torch.tensor([[0, 1, 2]]), torch.zeros(4, dtype=torch.int64), xy, backend)
    assert face_id.tolist() == [0, 0, 0, -1]


@every_backend_and_dtype
def test_views_together_are_the_views_one_by_one(backend: str, dtype: torch.dtype) -> None:
    verts, faces = soup("crossing", 3, n_views=3, dtype=dtype)
    view, xy = points_in_image(3, 500, dtype)
    together = visible_at(verts, faces, view, xy, backend)
    for n in range(3):
        mine = view == n
        alone = visible_at(verts[n : n + 1], faces, view[mine] * 0, xy[mine], backend)
        assert_same_bits((together[0][mine], together[1][mine]), alone)


def test_tile_lists_hold_the_faces_of_each_tile(poisoned_memory: Callable[[], AbstractContextManager[None]]) -> None:
    triton_cuda = pytest.importorskip("diffrender.ops.query_visibility.triton_cuda")
    if not INTERPRETED:
        pytest.skip("needs Triton's interpreter")
    bounds = raster_of(*soup("crossing", 2, n_faces=200), "numba").bins.bounds
    with poisoned_memory():
        ends, listed = triton_cuda.tile_lists(bounds, HEIGHT, WIDTH)
    assert triton_cuda.tile_lists(bounds, HEIGHT, WIDTH).faces is listed
    size = triton_cuda.TILE.value
    tiles_x, tiles_y = -(-WIDTH // size), -(-HEIGHT // size)
    assert len(ends) == 2 * tiles_x * tiles_y and ends[-1] == len(listed)
    low, high = bounds[..., :2].long(), bounds[..., 2:].long()
    for tile in range(2 * tiles_x * tiles_y):
        view, row, column = tile // (tiles_x * tiles_y), tile // tiles_x % tiles_y, tile % tiles_x
        first = torch.tensor([column, row]) * size
        touches = ((low[view] <= high[view]) & (low[view] < first + size) & (high[view] >= first)).all(1)
        of_tile = listed[ends[tile - 1] if tile else 0 : ends[tile]]
        assert of_tile.sort().values.tolist() == torch.nonzero(touches)[:, 0].tolist()


@every_backend
def test_no_faces(backend: str) -> None:
    verts, faces = soup("in_front", 0)
    view, xy = points_in_image(2, 50, torch.float32)
    face_id, depth = visible_at(verts, faces[:0], view, xy, backend)
    assert face_id.tolist() == [-1] * 50 and not bool(depth.any())


@every_backend_and_dtype
@pytest.mark.parametrize("size", [1e6, 1e20, torch.inf, torch.nan])
def test_huge_and_broken_coordinates(backend: str, dtype: torch.dtype, size: float) -> None:
    verts, faces = soup("crossing", 5, dtype=dtype)
    verts[:, :20] *= size
    view, xy = points_in_image(2, 300, dtype)
    xy[:100] *= size
    found = visible_at(verts, faces, view, xy, backend)
    assert_all_finite(found)
    assert torch.equal(found[0], visible_at(verts, faces, view, xy, "reference")[0])


@every_backend
def test_edge_on_faces_through_the_point_and_the_camera(backend: str) -> None:
    # As in test_rasterize.py: all three edge functions of a face with a determinant vanish exactly.
    x = torch.tensor([64.365234375, -20.97900390625, -0.3434181213378906])
    y = torch.tensor([-0.2203044444322586, -0.0038950988091528416, 1.4785118103027344])
    w = torch.tensor([1.98046875, -0.6455078125, -0.01056671142578125])
    verts, faces = torch.stack([x, y, w, w], 1)[None], torch.tensor([[0, 1, 2]])
    bins = rasterize(verts, faces, 8, 65, backend="reference").bins
    if backend == "numba":  # its own tile lists: rasterize itself has the same trouble
        bins = bins._replace(tile_offset=torch.tensor([0, 0, 0, 1, 1, 1]), tile_faces=torch.tensor([0]).int())
    xy = torch.stack([torch.full((8,), 32.5), torch.arange(8) + 0.5], 1)
    face_id, depth = query_visibility(verts, faces, torch.zeros(8).long(), xy, 8, 65, bins=bins, backend=backend)
    assert face_id.tolist() == [-1] * 8 and not bool(depth.any())
