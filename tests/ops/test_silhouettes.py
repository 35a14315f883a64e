from __future__ import annotations

import pytest
import torch
from scipy.spatial import ConvexHull
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
    segments_of,
    soup,
)
from torch import Tensor

from diffrender.geometry.primitives import box, icosphere
from diffrender.ops.silhouettes import SilhouetteSegments
from diffrender.ops.silhouettes.op import SEGMENT_PX

SQUARE = torch.tensor([[0, 1, 2], [0, 2, 3]])


def square_px(left: float, top: float, side: float, depth: float = 2.0) -> Tensor:
    """[4, 3] corners, which SQUARE makes a front that is seen."""
    right, bottom = left + side, top + side
    corners = [[left, top, depth], [right, top, depth], [right, bottom, depth], [left, bottom, depth]]
    return torch.tensor(corners, dtype=torch.float32)


def length(lines: SilhouetteSegments) -> float:
    return float(lines.normal_px.norm(dim=1).sum())


def enclosed_area(lines: SilhouetteSegments) -> float:
    """By the divergence theorem: half the sum of place . outward normal."""
    return float((lines.xy_px * lines.normal_px).sum()) / 2


@every_backend
@both_dtypes
def test_worked_example_of_a_square(backend: str, dtype: torch.dtype) -> None:
    verts = parallel_points(square_px(5, 7, 10)).to(dtype)[None]
    lines = segments_of(verts, SQUARE, backend)
    assert len(lines.pixel) == 160  # four sides of 10 px in pieces of 1/4 px; the diagonal is no outline
    assert length(lines) == pytest.approx(40)
    assert enclosed_area(lines) == pytest.approx(100)
    # The pieces of the top side, which is the edge (0, 1) and comes first.
    top = SilhouetteSegments(*(part[:40] for part in lines))
    assert top.face.tolist() == [0] * 40
    torch.testing.assert_close(top.xy_px[:, 0], 5.125 + 0.25 * torch.arange(40, dtype=torch.float64))
    assert top.xy_px[:, 1].tolist() == [7] * 40
    assert top.normal_px.tolist() == [[0, -0.25]] * 40
    assert top.pixel.tolist() == [7 * WIDTH + 5 + p // 4 for p in range(40)]
    t = (torch.arange(40, dtype=dtype) + 0.5) / 40
    torch.testing.assert_close(top.bary, torch.stack([1 - t, t, torch.zeros_like(t)], 1))
    assert top.depth.tolist() == [2] * 40
    assert lines.normal_px.dtype == lines.bary.dtype == dtype
    assert lines.xy_px.dtype == lines.depth.dtype == torch.float64


@every_backend
@pytest.mark.parametrize("turned", [False, True])
def test_normals_point_outwards_whichever_way_the_faces_turn(backend: str, turned: bool) -> None:
    faces = SQUARE.flip(1) if turned else SQUARE
    lines = segments_of(parallel_points(square_px(5, 7, 10))[None], faces, backend)
    outward = lines.xy_px - torch.tensor([10.0, 12.0])
    assert bool(((outward * lines.normal_px).sum(1) > 0).all())


@every_backend_and_dtype
@pytest.mark.parametrize("kind", ["in_front", "crossing", "parallel"])
def test_each_piece_is_where_it_says(kind: str, dtype: torch.dtype, backend: str) -> None:
    verts, faces = soup(kind, 4, dtype=dtype)
    lines = segments_of(verts, faces, backend)
    view, row, column = lines.pixel // (HEIGHT * WIDTH), lines.pixel // WIDTH % HEIGHT, lines.pixel % WIDTH
    # The middle is in its pixel, on an edge of its face, at its depth, in front of the near plane.
    pixel = torch.stack([column, row], 1)
    assert bool(((lines.xy_px >= pixel - 1e-4) & (lines.xy_px <= pixel + 1 + 1e-4)).all())
    assert bool((lines.bary == 0).any(1).all()) and bool((lines.bary >= 0).all())
    middle = (verts[view[:, None], faces[lines.face]] * lines.bary[:, :, None]).sum(1).double()
    tolerance = 1e-8 if dtype == torch.float64 else 2e-2
    torch.testing.assert_close(middle[:, :2] / middle[:, 2:3], lines.xy_px, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(middle[:, 3], lines.depth, rtol=1e-3, atol=1e-6)
    assert bool((lines.depth >= 0.1 - 1e-6).all())
    assert float(lines.normal_px.norm(dim=1).max()) <= SEGMENT_PX * (1 + 1e-5)
    assert bool((view.diff() >= 0).all())


def edge_of(lines: SilhouetteSegments, faces: Tensor) -> Tensor:
    """[P, 2] the two vertices of each piece's edge, the lower first."""
    corners = faces[lines.face].gather(1, lines.bary.argsort(1, descending=True)[:, :2])
    return corners.sort(1).values


@every_backend
def test_order_is_by_view_then_edge_then_along_it(backend: str) -> None:
    verts, faces = soup("in_front", 1)
    lines = segments_of(verts, faces, backend)
    view, edge = lines.pixel // (HEIGHT * WIDTH), edge_of(lines, faces)
    key = (view * len(verts[0]) + edge[:, 0]) * len(verts[0]) + edge[:, 1]
    assert bool((key.diff() >= 0).all())
    along = (faces[lines.face] == edge[:, 1:]).int().mul(lines.bary).sum(1)  # share of the second vertex grows
    assert bool((along.diff() > 0)[key.diff() == 0].all())


@every_backend
@pytest.mark.parametrize("seed", range(3))
def test_outlines_of_a_convex_solid_enclose_its_picture(backend: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    vertices, faces = icosphere(2)
    stretch = torch.rand(3, generator=generator, dtype=torch.float64) + 0.2
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))[0]
    points = (vertices.double() * stretch) @ rotation.T * 0.5 + torch.tensor([0.1, -0.05, 2.2])
    verts = perspective_points(points)[None]
    lines = segments_of(verts, faces, backend)
    hull = ConvexHull((verts[0, :, :2] / verts[0, :, 2:3]).numpy())
    assert enclosed_area(lines) == pytest.approx(hull.volume, rel=1e-9)
    assert length(lines) == pytest.approx(hull.area, rel=1e-9)
    torch.testing.assert_close(lines.normal_px.sum(0), torch.zeros(2, dtype=torch.float64), atol=1e-9, rtol=0)
    # The face of each piece is a front, and fronts are what is seen.
    raster = raster_of(verts, faces, backend)
    assert bool((raster.bins.facing[0, lines.face] == 1).all())
    assert bool((raster.bins.facing[0, raster.face_id[raster.face_id >= 0]] == 1).all())


@every_backend
def test_a_box_seen_straight_on_has_its_outline_once(backend: str) -> None:
    # Four sides are exactly edge-on: det = 0 counts as a front, so of the two edges that coincide in the image only the
    # one that borders the back is an outline.
    vertices, faces = box((10.0, 10.0, 1.0))
    verts = parallel_points(vertices.float() + torch.tensor([20, 15, 5]))[None]
    lines = segments_of(verts, faces, backend)
    assert length(lines) == pytest.approx(40)
    assert enclosed_area(lines) == pytest.approx(100)


@every_backend
def test_boundaries_are_outlines_and_inner_edges_are_not(backend: str) -> None:
    # A strip of three squares, the middle one folded over so that its back is seen.
    points = torch.tensor([[x, y, 2.0] for x in (4, 16, 10, 24) for y in (5, 12)])
    faces = torch.cat([torch.tensor([[0, 2, 3], [0, 3, 1]]) + 2 * i for i in range(3)])
    lines = segments_of(parallel_points(points)[None], faces, backend)
    edges = {tuple(edge) for edge in edge_of(lines, faces).tolist()}
    sides = {(2 * i + k, 2 * i + 2 + k) for i in range(3) for k in (0, 1)}
    assert edges == sides | {(0, 1), (6, 7)} | {(2, 3), (4, 5)}  # the two folds are edges between front and back
    fold = SilhouetteSegments(*(part[(edge_of(lines, faces) == torch.tensor([2, 3])).all(1)] for part in lines))
    assert bool((fold.normal_px[:, 0] > 0).all()) and length(fold) == pytest.approx(7)


@every_backend
def test_three_faces_at_an_edge(backend: str) -> None:
    points = torch.tensor([[10.0, 5, 2], [10, 20, 2], [20, 12, 2], [25, 12, 2], [2, 12, 2]])
    one_side, both_sides = torch.tensor([[0, 2, 1], [0, 3, 1]]), torch.tensor([[0, 2, 1], [0, 3, 1], [0, 4, 1]])
    for faces, is_silhouette in ((one_side, True), (both_sides, False)):
        lines = segments_of(parallel_points(points)[None], faces, backend)
        assert bool((edge_of(lines, faces) == torch.tensor([0, 1])).all(1).any()) == is_silhouette


@every_backend
def test_only_the_part_inside_the_image_counts(backend: str) -> None:
    verts = parallel_points(square_px(-20, -20, 30))[None]  # its lower right corner (10, 10) is inside
    lines = segments_of(verts, SQUARE, backend)
    assert length(lines) == pytest.approx(20)
    assert float(lines.xy_px.min()) > 0 and float(lines.xy_px.max()) <= 10
    outside = parallel_points(square_px(-20, -20, 15))[None]
    around = parallel_points(square_px(-5, -5, 90))[None]
    for verts in (outside, around):
        assert len(segments_of(verts, SQUARE, backend).pixel) == 0


@every_backend
def test_an_edge_that_passes_the_near_plane_starts_there(backend: str) -> None:
    # A wall x = 1 whose lower edge y = 1 runs from behind the camera to depth 50; near = 2.
    wall = perspective_points(torch.tensor([[[1.0, 1, -10], [1, 1, 50], [1, -30, 50]]]))
    lines = segments_of(wall, torch.tensor([[0, 1, 2]]), backend, near=2.0)
    lower = (edge_of(lines, torch.tensor([[0, 1, 2]])) == torch.tensor([0, 1])).all(1)
    assert float(lines.depth[lower].min()) == pytest.approx(2, rel=0.02)
    assert float(lines.depth[lower].max()) == pytest.approx(50, rel=0.3)
    start, end = (torch.tensor([WIDTH / 2, HEIGHT / 2]) + 25 / depth for depth in (2.0, 50.0))
    assert float(lines.normal_px[lower].norm(dim=1).sum()) == pytest.approx(float((start - end).norm()), rel=1e-4)
    behind = perspective_points(torch.tensor([[[1.0, 1, -10], [1, 1, 1.9], [1, -30, 0.5]]]))
    assert len(segments_of(behind, torch.tensor([[0, 1, 2]]), backend, near=2.0).pixel) == 0


@every_backend
def test_what_is_plainly_hidden_is_left_out_and_what_may_show_is_kept(backend: str) -> None:
    screen, small = square_px(3, 3, 24, depth=2), square_px(10, 10, 6, depth=3)
    faces = torch.cat([SQUARE, SQUARE + 4])
    hidden = segments_of(parallel_points(torch.cat([screen, small]))[None], faces, backend)
    assert set(hidden.face.tolist()) <= {0, 1} and length(hidden) == pytest.approx(96)
    # Behind by less than the margin, or peeping out from behind the screen: kept.
    for corners in (square_px(10, 10, 6, depth=2.0001), square_px(24, 10, 6, depth=3)):
        lines = segments_of(parallel_points(torch.cat([screen, corners]))[None], faces, backend)
        assert float(lines.normal_px[lines.face >= 2].norm(dim=1).sum()) > 11


@every_backend_and_dtype
def test_views_together_are_the_views_one_by_one(backend: str, dtype: torch.dtype) -> None:
    verts, faces = soup("crossing", 3, n_views=3, dtype=dtype)
    together = segments_of(verts, faces, backend)
    for n in range(3):
        mine = together.pixel // (HEIGHT * WIDTH) == n
        alone = segments_of(verts[n : n + 1], faces, backend)
        assert_same_bits(together.pixel[mine] - n * HEIGHT * WIDTH, alone.pixel)
        assert_same_bits(tuple(part[mine] for part in together[1:]), alone[1:])


@every_backend
def test_nothing_to_outline(backend: str) -> None:
    verts, faces = soup("in_front", 0)
    behind = verts * torch.tensor([1, 1, -1, -1])
    for case_verts, case_faces in ((verts, faces[:0]), (verts[:, :0], faces[:0]), (behind, faces), (verts[:0], faces)):
        lines = segments_of(case_verts, case_faces, backend)
        assert [tuple(part.shape) for part in lines] == [(0,), (0,), (0, 3), (0, 2), (0, 2), (0,), (0,)]


@every_backend_and_dtype
@pytest.mark.parametrize("size", [1e-6, 1e6, 1e20, 1e30, torch.inf, torch.nan])
def test_huge_tiny_and_broken_coordinates(backend: str, dtype: torch.dtype, size: float) -> None:
    for kind in ("crossing", "parallel"):
        verts, faces = soup(kind, 5, dtype=dtype)
        verts[:, :20] *= size
        lines = segments_of(verts, faces, backend)
        assert_all_finite(lines)
        assert len(lines.pixel) < 100_000
        assert float(lines.xy_px.min()) >= -1 and float(lines.xy_px.max()) <= WIDTH + 1


@every_backend
def test_faces_without_area(backend: str) -> None:
    # A repeated corner and a point: nothing that is longer than nothing.
    points = torch.cat([square_px(5, 7, 10), torch.tensor([[9.0, 9, 2]])])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 4, 4]])
    lines = segments_of(parallel_points(points)[None], faces, backend)
    assert_all_finite(lines)
    assert length(lines) == pytest.approx(40)
