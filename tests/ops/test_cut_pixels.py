from __future__ import annotations

import torch
from torch import Tensor

from diffrender.ops.silhouettes import SilhouetteSegments
from diffrender.ops.silhouettes.op import SEGMENT_PX
from diffrender.ops.supersample_silhouettes.cut_pixels import choose_pixels, cut_squares
from diffrender.ops.supersample_silhouettes.cut_pixels_numba import cut_square

HEIGHT, WIDTH = 4, 5


def random_lines(n: int = 300) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    angle = 2 * torch.pi * torch.rand(n, generator=generator, dtype=torch.float64)
    angle[:8] = torch.arange(8) * torch.pi / 4  # along the axes and the diagonals as well
    normal = torch.stack([angle.cos(), angle.sin()], 1)
    return normal, (normal * torch.rand(n, 2, generator=generator, dtype=torch.float64)).sum(1)


def test_halves_have_the_areas_and_middles_of_many_samples() -> None:
    normal, distance = random_lines()
    points, weights, chord = cut_squares(normal, distance)
    grid = (torch.arange(300, dtype=torch.float64) + 0.5) / 300
    samples = torch.cartesian_prod(grid, grid)
    for n in range(len(normal)):
        is_inside = samples @ normal[n] <= distance[n]
        for mine, half in ((is_inside, slice(0, 2)), (~is_inside, slice(2, 3))):
            area = weights[n, half].sum()
            assert abs(mine.double().mean() - area) < 2e-3
            if area > 0.02:
                middle = (weights[n, half, None] * points[n, half]).sum(0) / area
                # A point of a lopsided half may have to be held in the pixel.
                torch.testing.assert_close(samples[mine].mean(0), middle, rtol=0, atol=1e-2)
    # The area grows by the line's length per step outwards.
    _, wider, _ = cut_squares(normal, distance + 1e-5)
    torch.testing.assert_close((weights - wider)[:, 2] / 1e-5, chord, rtol=0, atol=1e-3)


def test_roots_of_the_distance_are_integrated_exactly() -> None:
    # Near its silhouette a round surface turns with the root of the distance, and its derivative goes with one over it.
    normal, width = torch.tensor([[1.0, 0.0]], dtype=torch.float64), torch.tensor([0.7], dtype=torch.float64)
    points, weights, _ = cut_squares(normal, width)
    away = width - points[0, :2, 0]
    for power in (-0.5, 0.5, 1.0):
        found = (weights[0, :2] * away**power).sum()
        torch.testing.assert_close(found, width[0] ** (power + 1) / (power + 1), rtol=1e-4, atol=0)


def test_slivers_and_lines_outside_of_the_pixel() -> None:
    normal = torch.tensor([[0.6, 0.8]], dtype=torch.float64).expand(4, 2)
    points, weights, chord = cut_squares(normal, torch.tensor([-0.1, 1e-5, 1.4 - 1e-5, 1.5], dtype=torch.float64))
    area = torch.tensor([0.0, 0, 1, 1], dtype=torch.float64)
    torch.testing.assert_close(weights[:, :2].sum(1), area, rtol=0, atol=1e-8)
    assert bool(((points >= 0) & (points <= 1)).all())
    torch.testing.assert_close(chord[[0, 3]], torch.zeros(2, dtype=torch.float64))


def test_the_kernel_cuts_alike() -> None:
    normal, distance = random_lines()
    points, weights, chord = cut_squares(normal, distance)
    for n in range(len(normal)):
        *found, area, length = cut_square(float(normal[n, 0]), float(normal[n, 1]), float(distance[n]))
        torch.testing.assert_close(torch.tensor(found, dtype=torch.float64), points[n], rtol=0, atol=1e-6)
        torch.testing.assert_close(torch.tensor([1 - area, length]).double(), torch.stack([weights[n, 2], chord[n]]))


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


def chosen(segments: SilhouetteSegments, extra: Tensor | None = None) -> tuple[list[int], list[int], Tensor]:
    refined, cut, _, weights = choose_pixels(segments, extra, HEIGHT * WIDTH, HEIGHT, WIDTH)
    return refined.tolist(), cut.tolist(), weights


def test_a_pixel_is_cut_by_one_edge_that_passes_through() -> None:
    # From left to right through the second row at a third of its height, up to the middle of the fourth pixel; the
    # inside is above. There a second edge goes on downwards.
    across, downwards = ((0.0, 1.25), (3.5, 1.25)), ((3.5, 1.25), (3.5, 2.5))
    refined, cut, weights = chosen(segments_along(across))
    assert refined == [8] and cut == [5, 6, 7]
    torch.testing.assert_close(weights[:, 2], torch.full((3,), 0.25, dtype=torch.float64), rtol=0, atol=1e-5)
    refined, cut, _ = chosen(segments_along(across, downwards))
    assert refined == [8, 13] and cut == [5, 6, 7]


def test_other_pixels_are_supersampled() -> None:
    line = ((0.0, 1.25), (5.0, 1.25))
    extra = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.bool)
    extra[0, 1, 3] = extra[0, 3, 0] = True
    assert chosen(segments_along(line), extra)[:2] == ([8, 15], [5, 6, 7, 9])
    # Two silhouettes in one pixel, and one that comes back to it later.
    returning = segments_along(line, ((2.5, 1.25), (2.5, 1.75)), line)
    returning = returning._replace(edge=torch.cat([returning.edge[:-20], torch.zeros(20, dtype=torch.int64)]))
    assert chosen(returning)[:2] == ([5, 6, 7, 8, 9], [])
    assert chosen(segments_along(line, ((2.5, 0.0), (2.5, 4.0))))[:2] == ([7], [2, 5, 6, 8, 9, 12, 17])
    # An edge seen end-on has no direction.
    still = segments_along(line)._replace(normal_px=torch.zeros(20, 2, dtype=torch.float64))
    assert chosen(still)[:2] == ([5, 6, 7, 8, 9], [])
    assert chosen(SilhouetteSegments(*(part[:0] for part in segments_along(line))))[:2] == ([], [])
