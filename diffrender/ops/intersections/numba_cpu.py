"""Lines of intersection on the CPU. Arithmetic in float64."""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.ops.intersections.op import LEAST_STEEPNESS, MOST_SEGMENTS, SEGMENT_PX, SIDE_PX, TOUCHING_PX
from diffrender.ops.numba_raster import inward_edges, load_corners
from diffrender.threads import parallel_for


@njit(nogil=True, cache=True, error_model="numpy")
def load_face(verts, faces, view, face, lines, depth):
    """Fill in the edge functions [3, 3] and corner depths [3] of a face; whether its depth is its w, and |det|."""
    a, b, c = load_corners(verts, faces, view, face)
    edges = inward_edges(a, b, c)
    for i in range(3):
        lines[i, 0], lines[i, 1], lines[i, 2] = edges[i].a, edges[i].b, edges[i].c
        depth[i] = edges[i].depth
    det = abs(a.x * edges[0].a + a.y * edges[0].b + a.w * edges[0].c)
    return a.w == a.depth and b.w == b.depth and c.w == c.depth, det


@njit(nogil=True, cache=True, error_model="numpy")
def line_in_pixel(verts, faces, view, pair, cx, cy, lines, corner_depth, values, slope):
    """Return (low, high, foot x, foot y, along x, along y, steepness, perspective): the line in pixel and faces.

    A point of it is (cx, cy) + foot + t along with t from low to high; there is none where high <= low. Fills what is
    known of the two faces into the arrays.
    """
    first_perspective, first_det = load_face(verts, faces, view, pair[0], lines[0], corner_depth[0])
    second_perspective, second_det = load_face(verts, faces, view, pair[1], lines[1], corner_depth[1])
    # Of both: a face of an orthographic view may happen to be at depth 1, which is its w.
    perspective = first_perspective and second_perspective

    # Nearness of the first face minus that of the second at the pixel's centre, and the gradient of each.
    nearness, size = 0.0, 0.0
    for k in range(2):
        det = first_det if k == 0 else second_det
        slope[k] = 0
        for i in range(3):
            share = (1.0 if perspective else -corner_depth[k, i]) / det
            values[k, i] = lines[k, i, 0] * cx + lines[k, i, 1] * cy + lines[k, i, 2]
            slope[k, 0] += share * lines[k, i, 0]
            slope[k, 1] += share * lines[k, i, 1]
            nearness += share * values[k, i] if k == 0 else -share * values[k, i]
        size = abs(nearness) if k == 0 else size

    # The line nearness = 0, from the point of it that is nearest to the pixel's centre.
    gx, gy = slope[0, 0] - slope[1, 0], slope[0, 1] - slope[1, 1]
    steepness = math.hypot(gx, gy)
    if not (steepness > LEAST_STEEPNESS * size and steepness < np.inf):
        return 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0, perspective
    foot_x, foot_y = -nearness / steepness * (gx / steepness), -nearness / steepness * (gy / steepness)
    along_x, along_y = -gy / steepness, gx / steepness

    # Cut by the four sides of the pixel and the three edges of either face: offset + t rate >= 0.
    low, high = -np.inf, np.inf
    for bound in range(10):
        if bound < 4:
            at, rate = (foot_x, along_x) if bound % 2 == 0 else (foot_y, along_y)
            offset = 0.5 - SIDE_PX - at if bound < 2 else 0.5 + SIDE_PX + at
            rate = -rate if bound < 2 else rate
        else:
            k, i = (bound - 4) // 3, (bound - 4) % 3
            offset = values[k, i] + lines[k, i, 0] * foot_x + lines[k, i, 1] * foot_y
            rate = lines[k, i, 0] * along_x + lines[k, i, 1] * along_y
        if rate > 0:
            low = max(low, -offset / rate)
        elif rate < 0:
            high = min(high, -offset / rate)
        elif not offset >= 0:
            high = -np.inf
    # Both ends near one edge: the faces only touch.
    for bound in range(6):
        k, i = bound // 3, bound % 3
        offset = values[k, i] + lines[k, i, 0] * foot_x + lines[k, i, 1] * foot_y
        rate = lines[k, i, 0] * along_x + lines[k, i, 1] * along_y
        width = TOUCHING_PX * math.hypot(lines[k, i, 0], lines[k, i, 1])
        if abs(offset + rate * low) <= width and abs(offset + rate * high) <= width:
            high = -np.inf
    return low, high, foot_x, foot_y, along_x, along_y, steepness, perspective


@njit(nogil=True, cache=True, error_model="numpy")
def find_segments(
    start, end, verts, faces, pixels, pairs, height, width, first, fill,
    pixel_out, face_out, bary_out, place_out, depth_out, normal_out, rise_out,
):  # fmt: skip
    """Count (fill = False, into first) or write (first[q] to first[q + 1]) the segments of the pairs start..end-1."""
    lines, corner_depth = np.empty((2, 3, 3)), np.empty((2, 3))
    values, slope, depth = np.empty((2, 3)), np.empty((2, 2)), np.empty(2)
    for q in range(start, end):
        if fill and first[q] == first[q + 1]:
            continue
        view = pixels[q] // (height * width)
        cx, cy = pixels[q] % width + 0.5, pixels[q] // width % height + 0.5
        low, high, foot_x, foot_y, along_x, along_y, steepness, perspective = line_in_pixel(
            verts, faces, view, pairs[q], cx, cy, lines, corner_depth, values, slope
        )
        n_segments, written = 0, 0
        if high > low and high - low <= MOST_SEGMENTS * SEGMENT_PX:
            n_segments = max(1, math.ceil((high - low) / SEGMENT_PX))
        length = (high - low) / max(1, n_segments)
        reach = length / steepness
        for segment in range(n_segments):
            t = low + (segment + 0.5) * length
            x, y = cx + (foot_x + t * along_x), cy + (foot_y + t * along_y)
            for k in range(2):
                for i in range(3):  # arithmetic of arrays would take a second more to compile
                    values[k, i] = lines[k, i, 0] * x + lines[k, i, 1] * y + lines[k, i, 2]
                total = values[k, 0] + values[k, 1] + values[k, 2]
                depth[k] = 0.0
                for i in range(3):
                    values[k, i] /= total
                    depth[k] += values[k, i] * corner_depth[k, i]
            if not (depth[0] > -np.inf and depth[1] > -np.inf):  # a face so thin that nothing is left of its area
                continue
            if fill:
                out = first[q] + written
                pixel_out[out] = pixels[q]
                place_out[out, 0], place_out[out, 1] = x, y
                depth_out[out] = depth[0]
                for k in range(2):
                    face_out[out, k] = pairs[q, k]
                    for i in range(3):
                        bary_out[out, k, i] = values[k, i]
                    normal_out[out, k, 0], normal_out[out, k, 1] = -slope[k, 0] * reach, -slope[k, 1] * reach
                    rise_out[out, k] = -reach / depth[k] ** 2 if perspective else -reach
            written += 1
        if not fill:
            first[q] = written


def forward(
    verts_hom: Tensor, faces: Tensor, pixel: Tensor, pair: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See op.intersections."""
    arrays = tuple(tensor.contiguous().numpy() for tensor in (verts_hom, faces, pixel, pair))

    def outputs(count: int) -> tuple[Tensor, ...]:
        return (
            memory.empty((count,), pixel.dtype),
            memory.empty((count, 2), pair.dtype),
            memory.empty((count, 2, 3), verts_hom.dtype),
            memory.empty((count, 2), torch.float64),
            memory.empty((count,), torch.float64),
            memory.empty((count, 2, 2), verts_hom.dtype),
            memory.empty((count, 2), verts_hom.dtype),
        )

    count = np.zeros(len(pixel), np.int64)
    nothing = tuple(tensor.numpy() for tensor in outputs(0))
    parallel_for(find_segments, len(pixel), 1024, *arrays, height, width, count, False, *nothing)
    first = np.concatenate([np.zeros(1, np.int64), np.cumsum(count)])
    found = outputs(int(first[-1]))
    written = tuple(tensor.numpy() for tensor in found)
    parallel_for(find_segments, len(pixel), 1024, *arrays, height, width, first, True, *written)
    return found  # type: ignore[return-value]
