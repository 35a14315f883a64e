"""Lines of intersection on CUDA: count the segments of each pair of faces, then write them. Float64 throughout.

One host synchronisation: how many segments there are.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffrender.ops.intersections.op import LEAST_STEEPNESS, MOST_SEGMENTS, SEGMENT_PX, SIDE_PX, TOUCHING_PX
from diffrender.ops.triton_launch import launch
from diffrender.ops.triton_raster import EXACT, inward_edges, load_corners

BLOCK = 128


@triton.jit
def load_face(verts, faces, n_verts, view, face, here):
    """Return the edges of faces, |det|, and whether their depth is their w."""
    a, b, c = load_corners(verts, faces, n_verts, view, face, here)
    edges = inward_edges(a, b, c)
    det = tl.abs(a[0] * edges[0][0] + a[1] * edges[0][1] + a[2] * edges[0][2])
    return edges, det, (a[2] == a[3]) & (b[2] == b[3]) & (c[2] == c[3])


@triton.jit
def evaluate(edge, x, y):
    """Return an edge function at points."""
    return edge[0] * x + edge[1] * y + edge[2]


@triton.jit
def nearness_of(edges, det, perspective, cx, cy):
    """Return the nearness of faces at the pixel's centre and its gradient in the image, x, y."""
    nearness, slope_x, slope_y = det * 0, det * 0, det * 0
    for i in tl.static_range(3):
        share = tl.where(perspective, 1.0, -edges[i][4]) / det
        nearness += share * evaluate(edges[i], cx, cy)
        slope_x += share * edges[i][0]
        slope_y += share * edges[i][1]
    return nearness, slope_x, slope_y


@triton.jit
def cut(low, high, offset, rate):
    """Return the part of low..high in which offset + t rate >= 0."""
    bound = -offset / rate
    possible = (rate > 0) | (rate < 0) | (offset >= 0)
    return (
        tl.where(rate > 0, tl.maximum(low, bound), low),
        tl.where(rate < 0, tl.minimum(high, bound), tl.where(possible, high, float("-inf"))),
    )


@triton.jit
def cut_to_face(low, high, edges, center, foot, along):
    """Return the part of low..high in which the line is inside faces."""
    for i in tl.static_range(3):
        offset = evaluate(edges[i], center[0], center[1]) + edges[i][0] * foot[0] + edges[i][1] * foot[1]
        low, high = cut(low, high, offset, edges[i][0] * along[0] + edges[i][1] * along[1])
    return low, high


@triton.jit
def touches_edge(low, high, edges, center, foot, along, TOUCHING: tl.constexpr):
    """Return whether both ends of the line are near one edge: then the faces only touch."""
    touches = low != low
    for i in tl.static_range(3):
        offset = evaluate(edges[i], center[0], center[1]) + edges[i][0] * foot[0] + edges[i][1] * foot[1]
        rate = edges[i][0] * along[0] + edges[i][1] * along[1]
        width = TOUCHING * tl.sqrt(edges[i][0] * edges[i][0] + edges[i][1] * edges[i][1])
        touches = touches | ((tl.abs(offset + rate * low) <= width) & (tl.abs(offset + rate * high) <= width))
    return touches


@triton.jit
def place(edges, x, y):
    """Return the barycentric coordinates of points in faces, and their depth."""
    e, f, g = evaluate(edges[0], x, y), evaluate(edges[1], x, y), evaluate(edges[2], x, y)
    total = e + f + g
    bary = e / total, f / total, g / total
    return bary, bary[0] * edges[0][4] + bary[1] * edges[1][4] + bary[2] * edges[2][4]


@triton.jit
def write_side(face_out, bary_out, normal_out, rise_out, out, face, bary, depth, slope_x, slope_y, reach, perspective,
               here):  # fmt: skip
    """Write what a segment is for one of its faces (out: 2 segment + side)."""
    tl.store(face_out + out, face, here)
    for i in tl.static_range(3):
        tl.store(bary_out + 3 * out + i, bary[i], here)
    tl.store(normal_out + 2 * out, -slope_x * reach, here)
    tl.store(normal_out + 2 * out + 1, -slope_y * reach, here)
    tl.store(rise_out + out, tl.where(perspective, -reach / (depth * depth), -reach), here)


@triton.jit(do_not_specialize=["n_pairs", "n_verts", "height", "width"])
def find_segments(
    verts, faces, pixels, pairs, count, ends, pixel_out, face_out, bary_out, place_out, depth_out, normal_out, rise_out,
    n_pairs, n_verts, height, width, STEP: tl.constexpr, MOST: tl.constexpr, LEAST: tl.constexpr,
    TOUCHING: tl.constexpr, SIDE: tl.constexpr, FILL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Count the segments of each pair, or write them: those of pair q end before ends[q]. See numba_cpu."""
    q = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = q < n_pairs
    if FILL:
        here = here & (tl.load(count + q, here, other=0) > 0)
    if tl.max(here.to(tl.int32), 0) > 0:
        pixel = tl.load(pixels + q, here, other=0)
        view = pixel // (height * width)
        center = (pixel % width).to(tl.float64) + 0.5, (pixel // width % height).to(tl.float64) + 0.5
        face_0, face_1 = tl.load(pairs + 2 * q, here, other=0), tl.load(pairs + 2 * q + 1, here, other=0)
        edges_0, det_0, perspective_0 = load_face(verts, faces, n_verts, view, face_0, here)
        edges_1, det_1, perspective_1 = load_face(verts, faces, n_verts, view, face_1, here)
        # Of both: a face of an orthographic view may happen to be at depth 1, which is its w.
        perspective = perspective_0 & perspective_1
        size, slope_0x, slope_0y = nearness_of(edges_0, det_0, perspective, center[0], center[1])
        other, slope_1x, slope_1y = nearness_of(edges_1, det_1, perspective, center[0], center[1])

        # The line where both are as near: center + foot + t along. Then the part of it in the pixel and both faces.
        gx, gy = slope_0x - slope_1x, slope_0y - slope_1y
        steepness = tl.sqrt(gx * gx + gy * gy)
        apart = -(size - other) / steepness
        foot = apart * (gx / steepness), apart * (gy / steepness)
        along = -gy / steepness, gx / steepness
        low, high = tl.full(gx.shape, float("-inf"), tl.float64), tl.full(gx.shape, float("inf"), tl.float64)
        for axis in tl.static_range(2):
            low, high = cut(low, high, 0.5 - SIDE - foot[axis], -along[axis])
            low, high = cut(low, high, 0.5 + SIDE + foot[axis], along[axis])
        low, high = cut_to_face(low, high, edges_0, center, foot, along)
        low, high = cut_to_face(low, high, edges_1, center, foot, along)
        found = here & (steepness > LEAST * tl.abs(size)) & (steepness < float("inf"))
        found = found & (high > low) & (high - low <= MOST * STEP)
        found = found & (touches_edge(low, high, edges_0, center, foot, along, TOUCHING) == 0)
        found = found & (touches_edge(low, high, edges_1, center, foot, along, TOUCHING) == 0)

        number = tl.where(found, tl.maximum(tl.ceil((high - low) / STEP), 1.0), 0.0)
        length = (high - low) / tl.maximum(number, 1.0)
        reach = length / steepness
        written, first = tl.zeros_like(pixel), tl.zeros_like(pixel)
        if FILL:
            first = tl.load(ends + q, here, other=0) - tl.load(count + q, here, other=0)
        segment, most = 0, tl.max(number, 0)
        while segment < most:
            t = low + (segment + 0.5) * length
            x, y = center[0] + (foot[0] + t * along[0]), center[1] + (foot[1] + t * along[1])
            bary_0, depth_0 = place(edges_0, x, y)
            bary_1, depth_1 = place(edges_1, x, y)
            # Not finite: of a face so thin that nothing is left of its area.
            sound = (segment < number) & (tl.abs(depth_0) < float("inf")) & (tl.abs(depth_1) < float("inf"))
            if FILL:
                out = first + written
                tl.store(pixel_out + out, pixel, sound)
                tl.store(place_out + 2 * out, x, sound)
                tl.store(place_out + 2 * out + 1, y, sound)
                tl.store(depth_out + out, depth_0, sound)
                write_side(face_out, bary_out, normal_out, rise_out, 2 * out, face_0, bary_0, depth_0, slope_0x,
                           slope_0y, reach, perspective, sound)  # fmt: skip
                write_side(face_out, bary_out, normal_out, rise_out, 2 * out + 1, face_1, bary_1, depth_1, slope_1x,
                           slope_1y, reach, perspective, sound)  # fmt: skip
            written += sound.to(tl.int64)
            segment += 1
        if not FILL:
            tl.store(count + q, written.to(tl.int32), here)


def forward(
    verts_hom: Tensor, faces: Tensor, pixel: Tensor, pair: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See op.intersections."""
    verts, faces, pixel, pair = (tensor.contiguous() for tensor in (verts_hom, faces, pixel, pair))
    n_pairs = len(pixel)
    count = pixel.new_empty(n_pairs, dtype=torch.int32)

    def find(ends: Tensor, *outputs: Tensor, fill: bool) -> None:
        launch(
            find_segments, triton.cdiv(n_pairs, BLOCK), verts, faces, pixel, pair, count, ends, *outputs,
            n_pairs, verts.shape[1], height, width, STEP=SEGMENT_PX, MOST=MOST_SEGMENTS, LEAST=LEAST_STEEPNESS,
            TOUCHING=TOUCHING_PX, SIDE=SIDE_PX, FILL=fill, BLOCK=BLOCK, **EXACT,
        )  # fmt: skip

    find(*[count] * 8, fill=False)
    ends = count.cumsum(0)
    n = int(ends[-1]) if n_pairs else 0
    found = (
        pixel.new_empty(n),
        pair.new_empty((n, 2)),
        verts.new_empty((n, 2, 3)),
        verts.new_empty((n, 2), dtype=torch.float64),
        verts.new_empty(n, dtype=torch.float64),
        verts.new_empty((n, 2, 2)),
        verts.new_empty((n, 2)),
    )
    if n:
        find(ends, *found, fill=True)
    return found
