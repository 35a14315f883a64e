from __future__ import annotations

import pytest
import torch
from torch import Tensor

from diffrender.ops.silhouettes import SilhouetteSegments
from diffrender.ops.silhouettes.op import SEGMENT_PX
from diffrender.ops.supersample_silhouettes import cut_pixels_numba
from diffrender.ops.supersample_silhouettes.cut_pixels import cut_squares, weigh_samples
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
    """The shares of supersampled pixels, of which two samples are in the upper half and one in the lower."""
    offsets = torch.tensor([[0.25, 0.125], [0.75, 0.125], [0.5, 0.875]], dtype=torch.float64)
    size = (1, HEIGHT, WIDTH)
    pixel, share = weigh_samples(segments, extra, offsets, size)
    parts = (segments.pixel, segments.edge, segments.xy_px, segments.normal_px)
    own_pixel, own_share = cut_pixels_numba.weigh_samples(
        *(part.numpy() for part in parts), extra, offsets.numpy(), size
    )
    assert own_pixel.tolist() == pixel.tolist()
    torch.testing.assert_close(own_share, share, rtol=0, atol=1e-12)
    return dict(zip(pixel.tolist(), share.tolist(), strict=True))


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
    # An edge seen end-on has no direction; a line beyond all samples of one side; no silhouette at all.
    still = segments_along(line)._replace(normal_px=torch.zeros(20, 2, dtype=torch.float64))
    assert weighed(still) == dict.fromkeys(range(5, 10), EQUAL)
    assert weighed(segments_along(((0.0, 1.95), (5.0, 1.95)))) == dict.fromkeys(range(5, 10), EQUAL)
    assert weighed(SilhouetteSegments(*(part[:0] for part in segments_along(line)))) == {}
