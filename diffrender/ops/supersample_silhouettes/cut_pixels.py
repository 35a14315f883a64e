"""The shares of samples: by exact areas in pixels that one straight silhouette cuts in two. In plain PyTorch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.ops.gather_samples import Samples
from diffrender.ops.silhouettes import SilhouetteSegments
from diffrender.ops.silhouettes.op import SEGMENT_PX

# Silhouettes are turned so far that neither component of their unit normal is smaller: what follows divides by them.
LEAST_SLOPE = 1e-5


class Slivers(NamedTuple):
    """Sides of K cut pixels that hold none of their samples, and so get one of their own.

    pixel: [K] int64, ascending. xy_px: [K, 2] float64, a point of each side. share: [K] its area.
    """

    pixel: Tensor
    xy_px: Tensor
    share: Tensor

    def samples(self, view: Tensor, face_id: Tensor) -> Samples:
        """Return those of them that see a face, as samples. view, face_id: [K] int64; -1 for nothing."""
        seen = torch.nonzero(face_id >= 0)[:, 0]
        xy, share = self.xy_px.to(self.share.dtype), self.share
        return Samples(*(part[seen] for part in (self.pixel, view, face_id, xy, share)))


def weigh_samples(
    segments: SilhouetteSegments, extra_pixels: Tensor | None, offsets: Tensor, size: tuple[int, int, int]
) -> tuple[Tensor, Tensor, Slivers]:
    """Return the pixels to supersample [R], ascending, the shares [R, S] of their samples, and slivers.

    A pixel is cut in two if all segments in it are on one edge, which passes through it from side to side: the samples
    inside the silhouette share the area there, those outside the rest; a side without any is a sliver. Elsewhere all
    shares are equal. offsets: [S, 2]. size: N, H, W.
    """
    n_views, height, width = size
    device = segments.pixel.device
    is_first = torch.ones(len(segments.pixel), dtype=torch.bool, device=device)
    is_first[1:] = (segments.pixel.diff() != 0) | (segments.edge.diff() != 0)
    first = torch.nonzero(is_first)[:, 0]
    last = torch.cat([first[1:], first.new_full((min(1, len(first)),), len(is_first))]) - 1
    run_pixel, start = segments.pixel[first], segments.xy_px[first]
    normal = segments.normal_px[first].double()
    length = normal.norm(dim=1)
    normal = normal / length.clamp_min(1e-12)[:, None]
    corner = torch.stack([run_pixel % width, run_pixel // width % height], 1)
    distance = ((start - corner) * normal).sum(1)
    area, chord = cut_squares(normal, distance)
    is_whole = (length > 0) & ((segments.xy_px[last] - start).norm(dim=1) + length >= chord - SEGMENT_PX)
    count = torch.zeros(n_views * height * width, dtype=torch.int64, device=device)
    count.index_add_(0, run_pixel, torch.where(is_whole, 1, 2))
    if extra_pixels is not None:
        count += 2 * extra_pixels.reshape(-1)
    pixel = torch.nonzero(count)[:, 0]

    share = offsets.new_full((len(pixel), len(offsets)), 1 / max(1, len(offsets)))
    is_inside = (normal[:, None] * offsets.double()).sum(2) <= distance[:, None]
    n_inside = is_inside.sum(1)
    is_cut = count[run_pixel] == 1
    row = torch.searchsorted(pixel, run_pixel[is_cut])
    own = torch.where(is_inside, (area / n_inside)[:, None], ((1 - area) / (len(offsets) - n_inside))[:, None])
    share[row] = own[is_cut].to(share.dtype)

    is_within = n_inside == 0
    bare = torch.where(is_within, area, 1 - area).to(share.dtype)
    lone = torch.nonzero(is_cut & (is_within | (n_inside == len(offsets))) & (bare > 0))[:, 0]
    lone = lone[run_pixel[lone].argsort()]
    xy = corner[lone] + points_in_slivers(normal[lone], distance[lone], is_within[lone])
    return pixel, share, Slivers(run_pixel[lone], xy, bare[lone])


def cut_squares(normal: Tensor, distance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the area [K] of the unit square where normal . p <= distance, and the length [K] of the line in it.

    normal: [K, 2] unit vectors.
    """
    # Reflected so that the normal points to the upper right, the area is what a triangle at the origin leaves.
    a, b = normal.abs().clamp_min(LEAST_SLOPE).unbind(1)
    distance = distance - normal.clamp_max(0).sum(1)
    # The triangle, less those beyond the right and upper sides, and again what both have taken.
    past = torch.stack([distance, distance - a, distance - b, distance - a - b], 1).clamp_min(0)
    sign = past.new_tensor([1, -1, -1, 1])
    area = ((past.square() * sign).sum(1) / (2 * a * b)).clamp(0, 1)
    return area, (past * sign).sum(1) / (a * b)


def points_in_slivers(normal: Tensor, distance: Tensor, is_within: Tensor) -> Tensor:
    """Return points [K, 2] two thirds of the way from the farthest corner of one side to the middle of the line.

    normal, distance: as in `cut_squares`, of lines that meet the square. is_within: [K] bool; of the side inside.
    """
    slope = normal.abs().clamp_min(LEAST_SLOPE)
    # Reflected as above; in x and in y the line ends at a side of the square, or where it meets another.
    rest = (distance - normal.clamp_max(0).sum(1))[:, None]
    middle = (((rest - slope.flip(1)) / slope).clamp_min(0) + (rest / slope).clamp_max(1)) / 2
    point = (2 * middle + ~is_within[:, None]) / 3
    return torch.where(normal < 0, 1 - point, point)
