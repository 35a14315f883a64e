from __future__ import annotations

import pytest
import torch
from support.op_problems import offsets_of
from support.triangle_soups import (
    CPU_BACKENDS,
    HEIGHT,
    WIDTH,
    assert_all_finite,
    assert_same_bits,
    both_dtypes,
    every_backend,
    every_backend_and_dtype,
    every_soup,
    parallel_points,
    raster_of,
    segments_of,
    soup,
)
from torch import Tensor

from diffrender.geometry.topology import Topology
from diffrender.ops.query_visibility import query_visibility
from diffrender.ops.silhouettes import silhouettes
from diffrender.ops.supersample_silhouettes import AntialiasPlan, supersample_silhouettes
from diffrender.ops.supersample_silhouettes.cut_pixels import choose_pixels


def plan_of(
    verts: Tensor, faces: Tensor, backend: str, n_samples: int = 16, extra_pixels: Tensor | None = None
) -> AntialiasPlan:
    raster = raster_of(verts, faces, backend)
    offsets = offsets_of(n_samples, verts.dtype)
    return supersample_silhouettes(
        verts, Topology(faces), raster, offsets, near=0.1, extra_pixels=extra_pixels, backend=backend
    )


@every_backend
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    # A square of two pixels before another one, twice as large: the outline of the first cuts one pixel along each side
    # in two, and has corners in four; what lies beyond it is the second, and beyond that nothing.
    near_square = torch.tensor([[1.25, 1.25, 1], [3.25, 1.25, 1], [3.25, 3.25, 1], [1.25, 3.25, 1]])
    far_square = torch.tensor([[0.25, 0.25, 2], [4.25, 0.25, 2], [4.25, 4.25, 2], [0.25, 4.25, 2]])
    verts = parallel_points(torch.cat([near_square, far_square]).to(dtype))[None]
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    offsets = torch.tensor([[0.125, 0.125], [0.375, 0.375]], dtype=dtype)
    found = supersample_silhouettes(
        verts, Topology(faces), raster_of(verts, faces, backend), offsets, near=0.1, backend=backend
    )
    rows, columns = found.pixel // WIDTH, found.pixel % WIDTH
    corners = [(i, j) for ends in ((1, 3), (0, 4)) for i in ends for j in ends]
    assert sorted(zip(rows.tolist(), columns.tolist(), strict=True)) == sorted(corners)
    # In the pixel of the first one's corner the sample before the corner sees the second one, the other the first.
    sees = dict(
        zip(zip(rows.tolist(), columns.tolist(), strict=True), (found.sample_face_id // 2).tolist(), strict=True)
    )
    assert sees[1, 1] == [1, 0] and sees[3, 3] == [0, 1] and sees[0, 0] == [-1, 1] and sees[1, 3] == [1, 1]
    # All of the larger one: nine whole pixels, the halves along its sides, and half of two corners.
    assert found.samples.weight.sum().item() == pytest.approx(9 + 6 * 0.75 + 6 * 0.25 + 1, abs=1e-4)
    near = found.samples.face_id < 2
    share = torch.zeros(HEIGHT * WIDTH, dtype=dtype).index_add(0, found.samples.pixel, found.samples.weight * near)
    sides = {(1, 2): 0.75, (2, 1): 0.75, (2, 3): 0.25, (3, 2): 0.25, (2, 2): 1}
    assert {at: share[at[0] * WIDTH + at[1]].item() for at in sides} == pytest.approx(sides, abs=1e-5)
    # Both squares' outlines are seen in full: 4 x 2 px before the second one, 4 x 4 px before nothing.
    length = found.segments.normal_px.norm(dim=1)
    inner = torch.zeros(len(length), dtype=torch.bool)
    inner[found.outside.segment] = True
    assert length[inner].sum().item() == pytest.approx(8, rel=1e-5)
    assert length[~inner].sum().item() == pytest.approx(16, rel=1e-5)
    assert bool((found.segments.face[inner] < 2).all()) and bool((found.outside.face_id >= 2).all())
    assert not bool(found.segments.depth_weight.any())


@pytest.mark.parametrize("backend", CPU_BACKENDS)  # Triton's interpreter is slow, and its plans are the reference's
@every_soup
def test_it_is_contours_and_probe_one_after_the_other(kind: str, backend: str) -> None:
    verts, faces = soup(kind, 3, dtype=torch.float64)
    extra_pixels = torch.zeros(2, HEIGHT, WIDTH, dtype=torch.bool)
    extra_pixels[1, 3, 7] = extra_pixels[0, HEIGHT - 1, WIDTH - 1] = True
    found = plan_of(verts, faces, backend, 4, extra_pixels)
    lines = segments_of(verts, faces, backend)
    expected = torch.cat([lines.pixel, torch.nonzero(extra_pixels.reshape(-1))[:, 0]]).unique()
    bins = raster_of(verts, faces, backend).bins
    refined, pixel, _, _ = choose_pixels(lines, extra_pixels, extra_pixels.numel(), HEIGHT, WIDTH)
    assert torch.equal(found.pixel, refined) and torch.equal(torch.cat([refined, pixel]).unique(), expected)
    corner = torch.stack([refined % WIDTH, refined // WIDTH % HEIGHT], 1)
    xy = (corner[:, None] + offsets_of(4, torch.float64)).reshape(-1, 2)
    view = (refined // (HEIGHT * WIDTH)).repeat_interleave(4)
    face, _ = query_visibility(verts, faces, view, xy, HEIGHT, WIDTH, bins=bins, near=0.1, backend=backend)
    assert torch.equal(found.sample_face_id.reshape(-1), face)
    # The samples of cut pixels are what their places see, and make up the pixel at most.
    of_cut = torch.isin(found.samples.pixel, pixel)
    _, view, face, xy, weight = (part[of_cut] for part in found.samples)
    seen, _ = query_visibility(verts, faces, view, xy, HEIGHT, WIDTH, bins=bins, near=0.1, backend=backend)
    assert torch.equal(seen, face) and 0 < len(face) <= 3 * len(pixel)
    assert weight.max() <= 1 and weight.sum() <= len(pixel)


@every_backend
def test_hidden_outlines_are_left_out(backend: str) -> None:
    # A small triangle behind a large one, too near to its edge for the 3 x 3 pixels around to hide it plainly.
    points = torch.tensor([[2.0, 2, 1], [30, 2, 1], [2, 25, 1], [2.2, 2.3, 3], [3.4, 2.3, 3], [2.2, 3.5, 3]])
    verts, faces = parallel_points(points)[None], torch.tensor([[0, 1, 2], [3, 4, 5]])
    raster = raster_of(verts, faces, backend)
    lines = silhouettes(verts, Topology(faces), raster.bins.facing, raster.depth[..., 0], near=0.1, backend=backend)
    assert bool((lines.face == 1).any())
    found = plan_of(verts, faces, backend)
    assert bool((found.segments.face == 0).all()) and len(found.outside.segment) == 0


@every_backend_and_dtype
def test_views_together_are_the_views_one_by_one(backend: str, dtype: torch.dtype) -> None:
    verts, faces = soup("crossing", 2, n_views=3, dtype=dtype)
    together = plan_of(verts, faces, backend)
    first_outline = first_sample = 0
    for view in range(3):
        alone = plan_of(verts[view : view + 1], faces, backend)
        mine = together.segments.pixel // (HEIGHT * WIDTH) == view
        shift = view * HEIGHT * WIDTH
        assert torch.equal(together.segments.pixel[mine] - shift, alone.segments.pixel)
        assert_same_bits(tuple(part[mine] for part in together.segments[1:]), alone.segments[1:])
        samples = tuple(part[together.samples.view == view] for part in together.samples)
        assert_same_bits((samples[0] - shift, *samples[2:]), (alone.samples[0], *alone.samples[2:]))
        outside = tuple(part[together.outside.view == view] for part in together.outside)
        assert_same_bits((outside[0] - first_outline, *outside[2:]), (alone.outside[0], *alone.outside[2:]))
        first_outline += len(alone.segments.pixel)
        first_sample += len(alone.samples.pixel)
    assert first_sample == len(together.samples.pixel)


@every_backend
def test_nothing_to_see(backend: str) -> None:
    verts, faces = soup("in_front", 0)
    for nothing in ((verts, faces[:0]), (-verts, faces)):
        found = plan_of(*nothing, backend)
        lists = (found.pixel, found.samples.pixel, found.segments.pixel, found.outside.segment)
        assert not any(len(each) for each in lists)


@every_backend
@pytest.mark.parametrize("size", [1e-6, 1e6, 1e18])
def test_huge_and_tiny_coordinates(backend: str, size: float) -> None:
    verts, faces = soup("crossing", 3)
    assert_all_finite(plan_of(verts * size, faces, backend))
