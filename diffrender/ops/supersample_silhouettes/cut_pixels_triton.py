"""The shares of samples on CUDA. Decisions in float64; see cut_pixels.py.

A program may find its pixel's one silhouette by itself: what is written per pixel is right where the count is 1.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffrender.list_sizes import list_length
from diffrender.ops.silhouettes import SilhouetteSegments
from diffrender.ops.silhouettes.op import SEGMENT_PX
from diffrender.ops.supersample_silhouettes.cut_pixels import LEAST_SLOPE
from diffrender.ops.triton_launch import launch
from diffrender.ops.triton_raster import EXACT

BLOCK = 128


class Weighed(NamedTuple):
    """R pixels to supersample, and what their S samples stand for.

    pixel: [R] int64, ascending; the number of pixels where there are fewer. share: [R, S].
    sliver_share: [R], 0 without a sliver; sliver_xy: [R, 2] float64 in the image; sliver_view: [R] int64, -1 without.
    """

    pixel: Tensor
    share: Tensor
    sliver_share: Tensor
    sliver_xy: Tensor
    sliver_view: Tensor


@triton.jit
def line_of(segment_xy, normals, p, column, row, here):
    """Return the lines that segments lie on: unit normal x, y, distance from the pixel's corner, segment length."""
    nx = tl.load(normals + 2 * p, here, other=0).to(tl.float64)
    ny = tl.load(normals + 2 * p + 1, here, other=0).to(tl.float64)
    length = tl.sqrt(nx * nx + ny * ny)
    scale = tl.maximum(length, 1e-12)
    nx, ny = nx / scale, ny / scale
    x, y = tl.load(segment_xy + 2 * p, here, other=0) - column, tl.load(segment_xy + 2 * p + 1, here, other=0) - row
    return nx, ny, x * nx + y * ny, length


@triton.jit
def reflect(nx, ny, distance, LEAST: tl.constexpr):
    """Return normals x, y and distance of lines whose normal points to the upper right, neither less than LEAST."""
    least = tl.full(nx.shape, LEAST, tl.float64)  # the constant alone would be rounded to float32
    return (
        tl.maximum(tl.abs(nx), least),
        tl.maximum(tl.abs(ny), least),
        distance - (tl.minimum(nx, 0.0) + tl.minimum(ny, 0.0)),
    )


@triton.jit
def cut_square(nx, ny, distance, LEAST: tl.constexpr):
    """Return the area of the unit square inside lines and the length of these in it; see cut_pixels.cut_squares."""
    a, b, rest = reflect(nx, ny, distance, LEAST)
    p, q = tl.maximum(rest, 0.0), tl.maximum(rest - a, 0.0)
    r, s = tl.maximum(rest - b, 0.0), tl.maximum(rest - a - b, 0.0)
    area = (p * p - q * q - r * r + s * s) / (2 * a * b)
    return tl.minimum(tl.maximum(area, 0.0), 1.0), (p - q - r + s) / (a * b)


@triton.jit(do_not_specialize=["n_segments", "n_pixels", "height", "width"])
def mark_pixels(
    segment_pixel, edge, segment_xy, normals, count, cut, n_segments, n_pixels, height, width,
    STEP: tl.constexpr, LEAST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Count the pixels' silhouettes, those that do not pass through from side to side twice; cut: of one the segment.

    A lane for each segment; the first in its pixel on its edge counts.
    """
    p = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    pixel = tl.load(segment_pixel + p, p < n_segments, other=-1)
    own, here = tl.load(edge + p, p < n_segments, other=-1), pixel >= 0
    before = here & (p > 0)
    is_next = (tl.load(segment_pixel + p - 1, before, other=-1) == pixel) & (
        tl.load(edge + p - 1, before, other=-1) == own
    )
    here = here & (is_next == 0)
    last, goes_on = p, here
    while tl.max(goes_on.to(tl.int32), 0) > 0:
        after = goes_on & (last + 1 < n_segments)
        goes_on = after & (tl.load(segment_pixel + last + 1, after, other=-1) == pixel)
        goes_on = goes_on & (tl.load(edge + last + 1, goes_on, other=-1) == own)
        last += goes_on.to(tl.int64)
    nx, ny, distance, length = line_of(
        segment_xy, normals, p, (pixel % width).to(tl.float64), (pixel // width % height).to(tl.float64), here
    )
    _, chord = cut_square(nx, ny, distance, LEAST)
    along_x = tl.load(segment_xy + 2 * last, here, other=0) - tl.load(segment_xy + 2 * p, here, other=0)
    along_y = tl.load(segment_xy + 2 * last + 1, here, other=0) - tl.load(segment_xy + 2 * p + 1, here, other=0)
    reach = tl.sqrt(along_x * along_x + along_y * along_y) + length
    is_whole = (length > 0) & (reach >= chord - STEP)
    tl.atomic_add(count + pixel, tl.where(is_whole, 1, 2), here, sem="relaxed")
    tl.store(cut + pixel, p, here)


@triton.jit(do_not_specialize=["n_refined", "n_pixels"])
def list_pixels(count, ends, pixels, n_refined, n_pixels, BLOCK: tl.constexpr):
    """Write the pixels with silhouettes, each in its place, and after them the number of pixels."""
    p = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    found = tl.load(count + p, p < n_pixels, other=0) > 0
    at = tl.load(ends + p, found, other=1).to(tl.int64) - 1
    tl.store(pixels + at, p, found & (at < n_refined))
    tl.store(pixels + p, n_pixels.to(tl.int64), (p < n_refined) & (p >= tl.load(ends + n_pixels - 1)))


@triton.jit
def coordinate_in_sliver(distance, along, across, is_outside):
    """Return x (or y, with the other slope first) of a point of one side; see cut_pixels.points_in_slivers."""
    return (tl.maximum((distance - across) / along, 0.0) + tl.minimum(distance / along, 1.0) + is_outside) / 3


@triton.jit(do_not_specialize=["n_refined", "n_pixels", "height", "width"])
def share_pixels(
    pixels, count, cut, segment_xy, normals, offsets, share, sliver_share, sliver_xy, sliver_view, n_refined, n_pixels,
    height, width, SAMPLES: tl.constexpr, EVEN: tl.constexpr, LEAST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the shares of samples and slivers, a lane for each pixel."""
    r = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    pixel = tl.load(pixels + r, r < n_refined, other=n_pixels)
    is_cut = tl.load(count + pixel, pixel < n_pixels, other=0) == 1
    column, row = (pixel % width).to(tl.float64), (pixel // width % height).to(tl.float64)
    p = tl.load(cut + pixel, is_cut, other=0)
    nx, ny, distance, _ = line_of(segment_xy, normals, p, column, row, is_cut)
    area, _ = cut_square(nx, ny, distance, LEAST)
    n_inside = tl.zeros([BLOCK], tl.float64)
    for s in range(SAMPLES):
        at = nx * tl.load(offsets + 2 * s).to(tl.float64) + ny * tl.load(offsets + 2 * s + 1).to(tl.float64)
        n_inside += (at <= distance).to(tl.float64)
    for s in range(SAMPLES):
        at = nx * tl.load(offsets + 2 * s).to(tl.float64) + ny * tl.load(offsets + 2 * s + 1).to(tl.float64)
        own = tl.where(at <= distance, area / n_inside, (1 - area) / (SAMPLES - n_inside))
        tl.store(share + r * SAMPLES + s, tl.where(is_cut, own, EVEN), r < n_refined)

    is_within = n_inside == 0
    bare = tl.where(is_within, area, tl.where(n_inside == SAMPLES, 1 - area, 0.0)).to(sliver_share.dtype.element_ty)
    bare = tl.where(is_cut, bare, 0.0)
    a, b, rest = reflect(nx, ny, distance, LEAST)
    is_outside = tl.where(is_within, 0.0, 1.0)
    x, y = coordinate_in_sliver(rest, a, b, is_outside), coordinate_in_sliver(rest, b, a, is_outside)
    tl.store(sliver_share + r, bare, r < n_refined)
    tl.store(sliver_xy + 2 * r, column + tl.where(nx < 0, 1 - x, x), r < n_refined)
    tl.store(sliver_xy + 2 * r + 1, row + tl.where(ny < 0, 1 - y, y), r < n_refined)
    tl.store(sliver_view + r, tl.where(bare > 0, pixel // (height * width), -1), r < n_refined)


def weigh_samples(
    segments: SilhouetteSegments, extra_pixels: Tensor | None, offsets: Tensor, size: tuple[int, int, int]
) -> Weighed:
    """See cut_pixels.weigh_samples; segments of pixel -1 are none. One host synchronisation."""
    n_views, height, width = size
    n_pixels, n_segments, n_samples = n_views * height * width, len(segments.pixel), len(offsets)
    count = torch.zeros(n_pixels, dtype=torch.int32, device=offsets.device)
    if extra_pixels is not None:
        count.add_(extra_pixels.reshape(-1), alpha=2)
    cut = segments.pixel.new_empty(n_pixels)
    launch(
        mark_pixels, triton.cdiv(n_segments, BLOCK), segments.pixel, segments.edge, segments.xy_px, segments.normal_px,
        count, cut, n_segments, n_pixels, height, width, STEP=SEGMENT_PX, LEAST=LEAST_SLOPE, BLOCK=BLOCK, **EXACT,
    )  # fmt: skip
    ends = (count > 0).cumsum(0, dtype=torch.int32)
    n_refined = list_length(ends[-1:] if n_pixels else ends.new_zeros(1), n_pixels)
    pixel, view = (segments.pixel.new_empty(n_refined) for _ in range(2))
    share, sliver_share = offsets.new_empty((n_refined, n_samples)), offsets.new_empty(n_refined)
    sliver_xy = segments.xy_px.new_empty((n_refined, 2))
    if n_refined:
        launch(list_pixels, triton.cdiv(n_pixels, BLOCK), count, ends, pixel, n_refined, n_pixels, BLOCK=BLOCK)
        launch(
            share_pixels, triton.cdiv(n_refined, BLOCK), pixel, count, cut, segments.xy_px, segments.normal_px, offsets,
            share, sliver_share, sliver_xy, view, n_refined, n_pixels, height, width,
            SAMPLES=n_samples, EVEN=1 / max(1, n_samples), LEAST=LEAST_SLOPE, BLOCK=BLOCK, **EXACT,
        )  # fmt: skip
    return Weighed(pixel, share, sliver_share, sliver_xy, view)
