from __future__ import annotations

import pytest
import torch
from support.triangle_soups import INTERPRETED
from torch import Tensor

from diffrender.ops.silhouettes import SilhouetteSegments
from diffrender.ops.silhouettes.op import SEGMENT_PX
from diffrender.ops.supersample_silhouettes import cut_pixels_numba
from diffrender.ops.supersample_silhouettes.cut_pixels import Slivers, cut_squares, weigh_samples
from diffrender.ops.supersample_silhouettes.cut_pixels_numba import cut_square

HEIGHT, WIDTH = 4, 5


def random_lines(n: int = 300) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    angle = 2 * torch.pi * torch.rand(n, generator=generator, dtype=torch.float64)
    angle[:8] = torch.arange(8) * torch.pi / 4  # along the axes and the diagonals as well
    normal = torch.stack([angle.cos(), angle.sin()], 1)
    return normal, (normal * torch.rand(n, 2, generator=generator, dtype=torch.float64)).sum(1)


def test_the_area_inside_is_that_of_many_points() -> None:
    normal, distance = random_lines()
    area, chord = cut_squares(normal, distance)
    grid = (torch.arange(300, dtype=torch.float64) + 0.5) / 300
    samples = torch.cartesian_prod(grid, grid)
    is_inside = samples @ normal.T <= distance
    torch.testing.assert_close(is_inside.double().mean(0), area, rtol=0, atol=2e-3)
    # It grows by the line's length per step outwards.
    wider, _ = cut_squares(normal, distance + 1e-5)
    torch.testing.assert_close((wider - area) / 1e-5, chord, rtol=0, atol=1e-3)


def test_lines_outside_of_the_pixel() -> None:
    normal = torch.tensor([[0.6, 0.8]], dtype=torch.float64).expand(3, 2)
    area, chord = cut_squares(normal, torch.tensor([-0.1, 0.7, 1.5], dtype=torch.float64))
    assert area.tolist() == pytest.approx([0, 0.5, 1]) and chord.tolist() == pytest.approx([0, 1.25, 0])


def test_the_kernel_cuts_alike() -> None:
    normal, distance = random_lines()
    found = torch.tensor([cut_square(*map(float, line)) for line in torch.cat([normal, distance[:, None]], 1)])
    torch.testing.assert_close(found.double().T, torch.stack(cut_squares(normal, distance)), rtol=0, atol=1e-6)


def segments_along(*lines: tuple[tuple[float, float], tuple[float, float]]) -> SilhouetteSegments:
    """An edge per line, cut into short segments."""
    parts = []
    for edge, (start, end) in enumerate(lines):
        a, b = torch.tensor(start, dtype=torch.float64), torch.tensor(end, dtype=torch.float64)
        count = int(((b - a).norm() / SEGMENT_PX).ceil())
        xy = a + (torch.arange(count)[:, None] + 0.5) / count * (b - a)
        step = (b - a) / count
        normal = torch.stack([step[1], -step[0]]).expand(count, 2)
        pixel = xy[:, 1].long() * WIDTH + xy[:, 0].long()
        number = torch.full((count,), edge)
        parts.append((pixel, number, torch.zeros(count, 3), xy, normal, torch.ones(count), number))
    return SilhouetteSegments(*(torch.cat(column) for column in zip(*parts, strict=True)))


def weighed(segments: SilhouetteSegments, extra: Tensor | None = None) -> dict[int, list[float]]:
    """The shares of supersampled pixels."""
    return cut(segments, extra)[0]


def cut(segments: SilhouetteSegments, extra: Tensor | None = None) -> tuple[dict[int, list[float]], Slivers]:
    """The shares of supersampled pixels, of which two samples are in the upper half and one in the lower; slivers."""
    offsets = torch.tensor([[0.25, 0.125], [0.75, 0.125], [0.5, 0.875]], dtype=torch.float64)
    size = (1, HEIGHT, WIDTH)
    pixel, share, slivers = weigh_samples(segments, extra, offsets, size)
    parts = (segments.pixel, segments.edge, segments.xy_px, segments.normal_px)
    own_pixel, own_share, own_slivers = cut_pixels_numba.weigh_samples(
        *(part.numpy() for part in parts), extra, offsets.numpy(), size
    )
    assert own_pixel.tolist() == pixel.tolist()
    torch.testing.assert_close((own_share, *own_slivers), (share, *slivers), rtol=0, atol=1e-12)
    if INTERPRETED:
        from diffrender.ops.supersample_silhouettes import cut_pixels_triton

        own_pixel, own_share, bare, xy, view = cut_pixels_triton.weigh_samples(segments, extra, offsets, size)
        has_sliver = torch.nonzero(bare)[:, 0]
        assert own_pixel.tolist() == pixel.tolist() and view.tolist() == [-1 if each == 0 else 0 for each in bare]
        own = (own_share, own_pixel[has_sliver], xy[has_sliver], bare[has_sliver])
        torch.testing.assert_close(own, (share, *slivers), rtol=0, atol=1e-12)
    return dict(zip(pixel.tolist(), share.tolist(), strict=True)), slivers


EQUAL = pytest.approx([1 / 3, 1 / 3, 1 / 3])
CUT = pytest.approx([0.375, 0.375, 0.25], abs=1e-5)


def test_a_pixel_is_cut_by_one_edge_that_passes_through() -> None:
    # From left to right through the second row at three quarters of its height, up to the middle of the fourth pixel;
    # the inside is above. There a second edge goes on downwards.
    across, downwards = ((0.0, 1.75), (3.5, 1.75)), ((3.5, 1.75), (3.5, 2.5))
    assert weighed(segments_along(across)) == {5: CUT, 6: CUT, 7: CUT, 8: EQUAL}
    assert weighed(segments_along(across, downwards)) == {5: CUT, 6: CUT, 7: CUT, 8: EQUAL, 13: EQUAL}


def test_samples_of_other_pixels_have_equal_shares() -> None:
    line = ((0.0, 1.75), (5.0, 1.75))
    extra = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.bool)
    extra[0, 1, 3] = extra[0, 3, 0] = True
    assert weighed(segments_along(line), extra) == {5: CUT, 6: CUT, 7: CUT, 8: EQUAL, 9: CUT, 15: EQUAL}
    # Two silhouettes in one pixel, and one that comes back to it later.
    assert weighed(segments_along(line, ((2.5, 1.0), (2.5, 2.0)))) == {5: CUT, 6: CUT, 7: EQUAL, 8: CUT, 9: CUT}
    returning = segments_along(line, ((2.5, 1.25), (2.5, 1.75)), line)
    returning = returning._replace(edge=torch.cat([returning.edge[:-20], torch.zeros(20, dtype=torch.int64)]))
    assert weighed(returning) == dict.fromkeys(range(5, 10), EQUAL)
    # An edge seen end-on has no direction; no silhouette at all.
    still = segments_along(line)._replace(normal_px=torch.zeros(20, 2, dtype=torch.float64))
    assert weighed(still) == dict.fromkeys(range(5, 10), EQUAL)
    assert weighed(SilhouetteSegments(*(part[:0] for part in segments_along(line)))) == {}


def test_a_side_without_samples_is_a_sliver_with_a_point_of_its_own() -> None:
    # The inside is above, and all samples are: below is a twentieth of the pixel.
    shares, slivers = cut(segments_along(((0.0, 1.95), (5.0, 1.95))))
    assert shares == dict.fromkeys(range(5, 10), pytest.approx([0.95 / 3] * 3, abs=1e-5))
    assert slivers.pixel.tolist() == list(range(5, 10)) and slivers.share.tolist() == pytest.approx(
        [0.05] * 5, abs=1e-5
    )
    assert bool(((slivers.xy_px[:, 1] > 1.95) & (slivers.xy_px[:, 1] < 2)).all())
    # From right to left, the inside is below, without samples.
    shares, slivers = cut(segments_along(((5.0, 1.95), (0.0, 1.95))))
    assert shares == dict.fromkeys(range(5, 10), pytest.approx([0.95 / 3] * 3, abs=1e-5))
    assert slivers.share.tolist() == pytest.approx([0.05] * 5, abs=1e-5)
    # A corner: the middle of a triangle. Not where a second edge is in the pixel.
    corner = ((2.0, 1.3), (2.1, 1.0))
    _, slivers = cut(segments_along(corner))
    assert slivers.pixel.tolist() == [7] and slivers.share.tolist() == pytest.approx([0.015])
    assert slivers.xy_px.tolist() == [pytest.approx([2 + 0.1 / 3, 1.1])]
    assert len(cut(segments_along(corner, ((2.5, 1.0), (2.5, 2.0))))[1].pixel) == 0


@pytest.mark.parametrize("side", [1, -1])
def test_the_point_of_a_sliver_is_in_it(side: int) -> None:
    normal, distance = random_lines()
    area, chord = cut_squares(normal, distance)
    along = torch.stack([-normal[:, 1], normal[:, 0]], 1)
    grid = torch.linspace(-1.5, 1.5, 3001, dtype=torch.float64)
    inside = 0
    for n, t, d, a, c in zip(normal, along, distance, area, chord, strict=True):
        on = grid[((d * n + grid[:, None] * t).sub(0.5).abs() < 0.5).all(1)]
        if len(on) < 100 or not 0 < a < 1:
            continue
        middle, size = d * n + (on[0] + on[-1]) / 2 * t, torch.tensor([c], dtype=torch.float64)
        pixel = torch.tensor([0])
        segment = SilhouetteSegments(
            pixel, pixel, torch.zeros(1, 3), middle[None], (size * n)[None], torch.ones(1), pixel
        )
        # Its only sample is on the other side.
        corner = ((side * n) < 0).double()[None]
        _, share, slivers = weigh_samples(segment, None, corner, (1, 1, 1))
        assert slivers.share.item() + share.item() == pytest.approx(1)
        assert bool(((slivers.xy_px > 0) & (slivers.xy_px < 1)).all())
        assert side * (float(slivers.xy_px @ n) - float(d)) > 0
        inside += 1
    assert inside > 200
