"""Pixels that one straight silhouette cuts in two: three points suffice for them. In plain PyTorch; see NOTES.md."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffrender.ops.silhouettes import SilhouetteSegments
from diffrender.ops.silhouettes.op import SEGMENT_PX

# Silhouettes are turned so far that neither component of their unit normal is smaller: what follows divides by them.
LEAST_SLOPE = 1e-5
# Halves with less area have no middle of their own.
LEAST_AREA = 1e-6
# Points stay so far inside of their pixel, for the sake of float32.
MARGIN = 1 / 512
# Inside, values may go with the root of the distance from the silhouette: Gauss's two points in that root.
NEAR, FAR = 0.5 - 0.5 / math.sqrt(3), 0.5 + 0.5 / math.sqrt(3)


def choose_pixels(
    segments: SilhouetteSegments, extra_pixels: Tensor | None, n_pixels: int, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the pixels to supersample [R]; of those that are cut in two, pixel [C], points [C, 3, 2], weights [C, 3].

    Pixels ascend. One is cut if all segments in it are on one edge, which passes through it from side to side. Of its
    points, (x, y) in the pixel, in 0..1, two are inside the silhouette and the last outside; weights add up to 1.
    """
    device = segments.pixel.device
    is_first = torch.ones(len(segments.pixel), dtype=torch.bool, device=device)
    is_first[1:] = (segments.pixel.diff() != 0) | (segments.edge.diff() != 0)
    first = torch.nonzero(is_first)[:, 0]
    last = torch.cat([first[1:], first.new_full((min(1, len(first)),), len(is_first))]) - 1
    pixel, start = segments.pixel[first], segments.xy_px[first]
    normal = segments.normal_px[first].double()
    length = normal.norm(dim=1)
    normal = normal / length.clamp_min(1e-12)[:, None]
    corner = torch.stack([pixel % width, pixel // width % height], 1)
    points, weights, chord = cut_squares(normal, ((start - corner) * normal).sum(1))
    is_whole = (length > 0) & ((segments.xy_px[last] - start).norm(dim=1) + length >= chord - SEGMENT_PX)
    count = torch.zeros(n_pixels, dtype=torch.int64, device=device)
    count.index_add_(0, pixel, torch.where(is_whole, 1, 2))
    if extra_pixels is not None:
        count += 2 * extra_pixels.reshape(-1)
    chosen = torch.nonzero(count[pixel] == 1)[:, 0]
    chosen = chosen[pixel[chosen].argsort()]
    return torch.nonzero(count > 1)[:, 0], pixel[chosen], points[chosen], weights[chosen]


def cut_squares(normal: Tensor, distance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cut unit squares in two by the lines normal . p = distance; return points [K, 3, 2] and weights [K, 3].

    normal: [K, 2] unit vectors, out of the first half, which has two points; the second has one, its middle. Weights
    of a half add up to its area. Also returns the length [K] of each line in the square.
    """
    # Reflected so that the normal points to the upper right, the first half is what a triangle at the origin leaves.
    is_negative = normal < 0
    slope = normal.abs().clamp_min(LEAST_SLOPE)
    a, b = slope.unbind(1)
    distance = distance - (normal * is_negative).sum(1)
    # The triangle, less those beyond the right and upper sides, and again what both have taken.
    past = torch.stack([distance, distance - a, distance - b, distance - a - b], 1).clamp_min(0)
    sign = past.new_tensor([1, -1, -1, 1])
    product = a * b
    area = ((past.square() * sign).sum(1) / (2 * product)).clamp(0, 1)
    chord = (past * sign).sum(1) / product
    moments = []
    for own, is_shifted in ((a, [0, 1, 0, 1]), (b, [0, 0, 1, 1])):
        shifted = past.square() * past.new_tensor(is_shifted)
        moments.append(((past**3 * sign).sum(1) / (3 * own) + (shifted * sign).sum(1)) / (2 * product))
    moment = torch.stack(moments, 1)
    areas = torch.stack([area, 1 - area], 1)
    middles = torch.stack([moment, 0.5 - moment], 1) / areas.clamp_min(LEAST_AREA)[..., None]
    middle, outside = torch.where(areas[..., None] < LEAST_AREA, 0.5, middles).unbind(1)
    inwards = (((middle * slope).sum(1) - distance) / slope.square().sum(1))[:, None] * slope
    points = torch.stack([middle + (2 * NEAR**2 - 1) * inwards, middle + (2 * FAR**2 - 1) * inwards, outside], 1)
    points = torch.where(is_negative[:, None], 1 - points, points).clamp(MARGIN, 1 - MARGIN)
    return points, torch.stack([NEAR * area, FAR * area, 1 - area], 1), chord
