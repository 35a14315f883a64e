"""Samples in silhouette pixels, and the visible segments, on CUDA. Decisions in float64, as in rasterize.

Six host synchronisations, none within list_sizes.ListSizes: two of silhouettes, the number of pixels to supersample,
one of the first query of a raster, the numbers of visible segments and of points outside them, and one of
gather_samples.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffrender.geometry.topology import Topology
from diffrender.list_sizes import list_lengths
from diffrender.ops.antialias import VisibleSegments
from diffrender.ops.gather_samples import Samples
from diffrender.ops.gather_samples.triton_cuda import gather
from diffrender.ops.query_visibility.triton_cuda import forward as query_visibility
from diffrender.ops.rasterize import Raster
from diffrender.ops.silhouettes import SilhouetteSegments
from diffrender.ops.silhouettes.triton_cuda import forward as silhouettes
from diffrender.ops.supersample_silhouettes.cut_pixels_triton import weigh_samples
from diffrender.ops.supersample_silhouettes.op import (
    OUTSIDE_PX,
    TOUCHING_DEPTH,
    TOUCHING_PX,
    AntialiasPlan,
    OutsidePoints,
)
from diffrender.ops.triton_launch import launch
from diffrender.ops.triton_raster import EXACT, depth_of, edge_values, inward_edges, load_corners

BLOCK = 128


@triton.jit(do_not_specialize=["n_samples", "per_pixel", "n_segments", "n_pixels", "height", "width"])
def place_points(
    pixels, offsets, segment_pixel, segment_xy, normal, view, xy, n_samples, per_pixel, n_segments, n_pixels, height,
    width, OUTSIDE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write view and place of all samples, pixel by pixel, then of points OUTSIDE the segments; view -1 for none."""
    point = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    is_sample, sample = point < n_samples, point % per_pixel
    pixel = tl.load(pixels + point // per_pixel, is_sample, other=n_pixels)
    x = (pixel % width).to(tl.float64) + tl.load(offsets + 2 * sample, is_sample, other=0)
    y = (pixel // width % height).to(tl.float64) + tl.load(offsets + 2 * sample + 1, is_sample, other=0)

    segment = point - n_samples
    here = (is_sample == 0) & (segment < n_segments)
    pixel = tl.where(here, tl.load(segment_pixel + segment, here, other=-1), pixel)
    nx = tl.load(normal + 2 * segment, here, other=0).to(tl.float64)
    ny = tl.load(normal + 2 * segment + 1, here, other=0).to(tl.float64)
    length = tl.maximum(tl.sqrt(nx * nx + ny * ny), 1e-12)
    x = tl.where(here, tl.load(segment_xy + 2 * segment, here, other=0) + OUTSIDE * (nx / length), x)
    y = tl.where(here, tl.load(segment_xy + 2 * segment + 1, here, other=0) + OUTSIDE * (ny / length), y)
    here = here | is_sample
    tl.store(view + point, tl.where((pixel >= 0) & (pixel < n_pixels), pixel // (height * width), -1), here)
    tl.store(xy + 2 * point, x, here)
    tl.store(xy + 2 * point + 1, y, here)


@triton.jit(do_not_specialize=["n_segments", "n_verts"])
def judge_segments(
    verts, faces, view, pixel_xy, depth, outside_face, outside_depth, touches_out, listed, n_segments, n_verts,
    STEEPEST: tl.constexpr, TOUCHING: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write whether the plane of the face outside passes through each segment, and which segments to list.

    listed: [2, P]; 1 where a segment is seen, and where it then has a face outside.
    """
    p = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    of_view = tl.load(view + p, p < n_segments, other=-1)
    here = of_view >= 0
    face, z = tl.load(outside_face + p, here, other=-1), tl.load(depth + p, here, other=0)
    beyond = tl.load(outside_depth + p, here, other=0)
    a, b, c = load_corners(verts, faces, n_verts, of_view, face, face >= 0)
    edges = inward_edges(a, b, c)
    x, y = tl.load(pixel_xy + 2 * p, here, other=0), tl.load(pixel_xy + 2 * p + 1, here, other=0)
    at_segment = depth_of(edges, edge_values(edges, x, y))
    tolerance = STEEPEST * tl.abs(beyond - at_segment) + TOUCHING * tl.abs(z)
    touches = (face >= 0) & (tl.abs(at_segment - z) <= tolerance)
    seen = here & ((face < 0) | (beyond >= z) | touches)
    tl.store(touches_out + p, touches, p < n_segments)
    tl.store(listed + p, seen.to(tl.int8), p < n_segments)
    tl.store(listed + n_segments + p, (seen & (face >= 0)).to(tl.int8), p < n_segments)


@triton.jit(do_not_specialize=["n_segments", "n_seen", "n_inner"])
def write_visible(
    pixel, face, bary, normal, xy, edge, touches, view, outside_face, outside_xy, listed, ends,
    pixel_out, face_out, bary_out, normal_out, weight_out, edge_out, xy_out, touches_out,
    segment_out, view_out, outside_face_out, outside_xy_out, n_segments, n_seen, n_inner, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the listed segments and the points outside them, each in its place: ends is the sum of listed so far.

    What is left of the lists gets no length, and points outside of segment n_seen, which there is not.
    """
    p = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    seen = tl.load(listed + p, p < n_segments, other=0) != 0
    out = tl.load(ends + p, seen, other=1) - 1
    seen = seen & (out < n_seen)
    tl.store(pixel_out + out, tl.load(pixel + p, seen, other=0), seen)
    tl.store(face_out + out, tl.load(face + p, seen, other=0), seen)
    tl.store(weight_out + out, 0.0, seen)
    tl.store(edge_out + out, tl.load(edge + p, seen, other=0), seen)
    tl.store(touches_out + out, tl.load(touches + p, seen, other=0), seen)
    for i in tl.static_range(3):
        tl.store(bary_out + 3 * out + i, tl.load(bary + 3 * p + i, seen, other=0), seen)
    for i in tl.static_range(2):
        tl.store(normal_out + 2 * out + i, tl.load(normal + 2 * p + i, seen, other=0), seen)
        tl.store(xy_out + 2 * out + i, tl.load(xy + 2 * p + i, seen, other=0), seen)

    has_face = tl.load(listed + n_segments + p, p < n_segments, other=0) != 0
    inner = tl.load(ends + n_segments + p, has_face, other=1) - 1 - tl.load(ends + n_segments - 1)
    has_face = has_face & (inner < n_inner)
    # One that the other list has no room for is outside of no segment: the caller is told that it is too short.
    tl.store(segment_out + inner, tl.minimum(out, n_seen.to(tl.int64)), has_face)
    tl.store(view_out + inner, tl.load(view + p, has_face, other=0), has_face)
    tl.store(outside_face_out + inner, tl.load(outside_face + p, has_face, other=0), has_face)
    for i in tl.static_range(2):
        tl.store(outside_xy_out + 2 * inner + i, tl.load(outside_xy + 2 * p + i, has_face, other=0), has_face)

    left = (p < n_seen) & (p >= tl.load(ends + n_segments - 1))
    tl.store(pixel_out + p, 0, left)
    tl.store(face_out + p, 0, left)
    tl.store(weight_out + p, 0.0, left)
    tl.store(edge_out + p, 0, left)
    tl.store(touches_out + p, 0, left)
    for i in tl.static_range(3):
        tl.store(bary_out + 3 * p + i, 1.0 if i == 0 else 0.0, left)
    for i in tl.static_range(2):
        tl.store(normal_out + 2 * p + i, 0.0, left)
        tl.store(xy_out + 2 * p + i, 0.0, left)
    left = (p < n_inner) & (p >= tl.load(ends + 2 * n_segments - 1) - tl.load(ends + n_segments - 1))
    tl.store(segment_out + p, n_seen.to(tl.int64), left)
    tl.store(view_out + p, 0, left)
    tl.store(outside_face_out + p, 0, left)
    for i in tl.static_range(2):
        tl.store(outside_xy_out + 2 * p + i, 0.0, left)


def find_visible_segments(
    verts: Tensor, faces: Tensor, segments: SilhouetteSegments, view: Tensor, xy: Tensor, face: Tensor, depth: Tensor
) -> tuple[VisibleSegments, OutsidePoints, Tensor, Tensor, Tensor]:
    """Return the segments that are seen, what is just outside them, and their edge, xy_px and touches.

    view, xy, face, depth: of the points just outside.
    """
    n = len(view)
    touches, listed = view.new_empty(n, dtype=torch.bool), view.new_empty((2, n), dtype=torch.int8)
    launch(
        judge_segments, triton.cdiv(n, BLOCK), verts, faces, view, segments.xy_px, segments.depth, face, depth,
        touches, listed, n, verts.shape[1],
        STEEPEST=TOUCHING_PX / OUTSIDE_PX, TOUCHING=TOUCHING_DEPTH, BLOCK=BLOCK, **EXACT,
    )  # fmt: skip
    # Along one axis, on which PyTorch sums ten times as fast as along the longer of two.
    ends = listed.flatten().cumsum(0)
    n_seen, n_inner = list_lengths(torch.stack([ends[n - 1], ends[-1] - ends[n - 1]]) if n else view.new_zeros(2), n)
    visible = VisibleSegments(
        view.new_empty(n_seen),
        view.new_empty(n_seen),
        verts.new_empty((n_seen, 3)),
        verts.new_empty((n_seen, 2)),
        verts.new_empty(n_seen),
    )
    others = view.new_empty(n_seen), xy.new_empty((n_seen, 2)), touches.new_empty(n_seen)
    outside = OutsidePoints(*(view.new_empty(n_inner) for _ in range(3)), verts.new_empty((n_inner, 2)))
    launch(
        write_visible, triton.cdiv(n, BLOCK), segments.pixel, segments.face, segments.bary, segments.normal_px,
        segments.xy_px, segments.edge, touches, view, face, xy, listed, ends, *visible, *others, *outside, n, n_seen,
        n_inner, BLOCK=BLOCK,
    )  # fmt: skip
    return visible, outside, *others


def forward(
    verts_hom: Tensor,
    topology: Topology,
    raster: Raster,
    offsets: Tensor,
    near: float,
    extra_pixels: Tensor | None,
    jumps: Tensor | None = None,
) -> AntialiasPlan:
    """See op.supersample_silhouettes."""
    center_face, center_depth, bins = raster.face_id[..., 0], raster.depth[..., 0], raster.bins
    height, width = center_face.shape[1:]
    verts, faces, offsets = verts_hom.contiguous(), topology.faces.contiguous(), offsets.contiguous()
    segments = SilhouetteSegments(*silhouettes(verts, topology, bins.facing, center_depth, near, jumps))
    pixel, share, sliver_share, sliver_xy, sliver_view = weigh_samples(
        segments, extra_pixels, offsets, tuple(center_face.shape)
    )

    # Samples, points outside and slivers are looked up together.
    n_samples, n_segments = len(pixel) * len(offsets), len(segments.pixel)
    n_points = n_samples + n_segments
    view = pixel.new_empty(n_points)
    xy = segments.xy_px.new_empty((n_points, 2))
    launch(
        place_points, triton.cdiv(n_points, BLOCK), pixel, offsets, segments.pixel, segments.xy_px,
        segments.normal_px, view, xy, n_samples, max(1, len(offsets)), n_segments, center_face.numel(), height, width,
        OUTSIDE=OUTSIDE_PX, BLOCK=BLOCK, **EXACT,
    )  # fmt: skip
    view, xy = torch.cat([view, sliver_view]), torch.cat([xy, sliver_xy])
    face, depth = query_visibility(verts, faces, view, xy, height, width, bins, near)
    sample_face_id = face[:n_samples].reshape(len(pixel), len(offsets))
    slivers = (face[n_points:], sliver_xy, sliver_share)
    samples = Samples(*gather(center_face, pixel, sample_face_id, offsets, share, *slivers))
    outside = (part[n_samples:n_points] for part in (view, xy, face, depth))
    found = find_visible_segments(verts, faces, segments, *outside)
    return AntialiasPlan(samples, *found, pixel, sample_face_id)
