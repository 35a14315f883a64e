"""Silhouettes on the CPU: mark the edges, count their segments, fill the list. Arithmetic in float64."""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.geometry.topology import Topology
from diffrender.ops.silhouettes.op import HIDDEN_MARGIN, SEGMENT_PX
from diffrender.threads import parallel_for


@njit(nogil=True, cache=True)
def find_candidates(start, end, sides, facing, jumps, is_candidate):
    """Mark the edges that may be listed: both faces on one side, not two faces, or a jump (item = view E + edge)."""
    n_edges = sides.shape[0]
    for item in range(start, end):
        view = item // n_edges
        first, second = sides[item - view * n_edges, 0], sides[item - view * n_edges, 1]
        first_side = facing[view, first] if first >= 0 else -facing[view, -1 - first]
        second_side = facing[view, second] if second >= 0 else -facing[view, -1 - second]
        is_candidate[item] = first_side == second_side or jumps[item - view * n_edges]


@njit(nogil=True, cache=True)
def silhouette_side(view, edge, edges, faces, corner, offset, facing, jumps):
    """Return (side, half-edge): where all faces of the edge are (+1, -1; 0 on both sides), and a front one if any.

    Of an edge that jumps, the side of this one.
    """
    chosen = np.int64(-1)
    common, chosen_side = 0, 0
    for entry in range(offset[edge], offset[edge + 1]):
        half_edge = corner[entry]
        face = half_edge // 3
        forward = faces[face, half_edge - 3 * face] == edges[edge, 0]
        side = -facing[view, face] if forward else facing[view, face]
        if common != 0 and side != common and not jumps[edge]:
            return 0, chosen
        common = side
        if chosen < 0 or (facing[view, face] > 0 and facing[view, chosen // 3] < 0):
            chosen, chosen_side = half_edge, side
    return chosen_side, chosen


@njit(nogil=True, cache=True, error_model="numpy")
def clip_edge(verts, view, v0, v1, near, height, width):
    """Return the part of an edge that can be seen: (t_a, t_b, x_a, y_a, w_a, x_b, y_b, w_b, u_a, u_b).

    t: perspective-correct parameters where it meets the near plane; x, y, w there; u: the screen-space fractions of
    that segment between which it lies inside the image (u_a >= u_b where nowhere).
    """
    z0, z1 = np.float64(verts[view, v0, 3]), np.float64(verts[view, v1, 3])
    t_a, t_b = 0.0, 1.0
    nothing = (0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0)
    if not (z0 >= near or z1 >= near):
        return nothing
    if z0 < near:
        t_a = (near - z0) / (z1 - z0)
    elif z1 < near:
        t_b = (near - z0) / (z1 - z0)
    x0, y0, w0 = np.float64(verts[view, v0, 0]), np.float64(verts[view, v0, 1]), np.float64(verts[view, v0, 2])
    dx, dy, dw = verts[view, v1, 0] - x0, verts[view, v1, 1] - y0, verts[view, v1, 2] - w0
    w_a, w_b = w0 + t_a * dw, w0 + t_b * dw
    if not (w_a > 0 and w_b > 0):
        return nothing
    x_a, y_a = (x0 + t_a * dx) / w_a, (y0 + t_a * dy) / w_a
    x_b, y_b = (x0 + t_b * dx) / w_b, (y0 + t_b * dy) / w_b
    u_a, u_b = 0.0, 1.0
    for axis in range(2):
        p, q, size = (x_a, x_b, width) if axis == 0 else (y_a, y_b, height)
        if not (abs(p) < np.inf and abs(q) < np.inf):
            return nothing
        if p == q:
            if p < 0 or p > size:
                return nothing
            continue
        enter, leave = -p / (q - p), (size - p) / (q - p)
        if enter > leave:
            enter, leave = leave, enter
        u_a, u_b = max(u_a, enter), min(u_b, leave)
    return t_a, t_b, x_a, y_a, w_a, x_b, y_b, w_b, u_a, u_b


@njit(nogil=True, cache=True, error_model="numpy")
def count_segments(start, end, items, verts, faces, edges, corner, offset, facing, jumps, near, height, width, count):
    """Count the segments of each of the edges items[start:end] (view E + edge)."""
    n_edges = edges.shape[0]
    for index in range(start, end):
        view = items[index] // n_edges
        edge = items[index] - view * n_edges
        count[index] = 0
        if silhouette_side(view, edge, edges, faces, corner, offset, facing, jumps)[0] == 0:
            continue
        clipped = clip_edge(verts, view, edges[edge, 0], edges[edge, 1], near, height, width)
        u_a, u_b = clipped[8], clipped[9]
        if u_b > u_a:
            length = math.hypot(clipped[5] - clipped[2], clipped[6] - clipped[3]) * (u_b - u_a)
            count[index] = max(1, math.ceil(length / SEGMENT_PX))


@njit(nogil=True, cache=True)
def plainly_hidden(depth, view, row, column, segment_depth):
    """Return whether every pixel of the 3 x 3 around (row, column) sees something nearer than segment_depth."""
    height, width = depth.shape[1], depth.shape[2]
    limit = segment_depth * (1 - HIDDEN_MARGIN)
    for y in range(max(row - 1, 0), min(row + 2, height)):
        for x in range(max(column - 1, 0), min(column + 2, width)):
            seen = depth[view, y, x]
            if seen == 0 or seen >= limit:
                return False
    return True


@njit(nogil=True, cache=True, error_model="numpy")
def fill_segments(
    start, end, items, first, verts, faces, edges, corner, offset, facing, jumps, depth, near,
    keep, pixel, face_out, bary, xy, normal, depth_out, edge_out,
):  # fmt: skip
    """Write the segments of the edges items[start:end]; those of items[i] begin at first[i]."""
    n_edges = edges.shape[0]
    height, width = depth.shape[1], depth.shape[2]
    for index in range(start, end):
        view = items[index] // n_edges
        edge = items[index] - view * n_edges
        v0, v1 = edges[edge, 0], edges[edge, 1]
        side, half_edge = silhouette_side(view, edge, edges, faces, corner, offset, facing, jumps)
        t_a, t_b, x_a, y_a, w_a, x_b, y_b, w_b, u_a, u_b = clip_edge(verts, view, v0, v1, near, height, width)
        n_segments = first[index + 1] - first[index]

        # The faces are where side (v0 x v1) . p >= 0; (v0 x v1) is a positive multiple of the line a -> b, whose
        # normal is (y_a - y_b, x_b - x_a). Outwards is the other way.
        nx = -side * (y_a - y_b) * (u_b - u_a) / n_segments
        ny = -side * (x_b - x_a) * (u_b - u_a) / n_segments

        # The edge's ends as corners of the face.
        face = half_edge // 3
        corner_0 = half_edge - 3 * face
        corner_1 = (corner_0 + 1) % 3
        if faces[face, corner_0] != v0:
            corner_0, corner_1 = corner_1, corner_0

        # Each segment by its middle: u in the image, t in space.
        for segment in range(n_segments):
            out = first[index] + segment
            u = u_a + (segment + 0.5) / n_segments * (u_b - u_a)
            t = t_a + (t_b - t_a) * (u * w_a / ((1 - u) * w_b + u * w_a))
            x, y = x_a + u * (x_b - x_a), y_a + u * (y_b - y_a)
            z = (1 - t) * verts[view, v0, 3] + t * verts[view, v1, 3]
            column = min(max(np.int64(math.floor(x)), 0), width - 1)
            row = min(max(np.int64(math.floor(y)), 0), height - 1)
            keep[out] = not plainly_hidden(depth, view, row, column, z)
            pixel[out] = (view * height + row) * width + column
            face_out[out] = face
            bary[out, 0] = 0
            bary[out, 1] = 0
            bary[out, 2] = 0
            bary[out, corner_0] = 1 - t
            bary[out, corner_1] = t
            xy[out, 0], xy[out, 1] = x, y
            normal[out, 0], normal[out, 1] = nx, ny
            depth_out[out] = z
            edge_out[out] = edge


def forward(
    verts_hom: Tensor,
    topology: Topology,
    facing: Tensor,
    depth: Tensor,
    near: float,
    jumps: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See op.silhouettes."""
    verts = verts_hom.contiguous().numpy()
    edges = topology.edges.numpy()
    corner, offset = (part.numpy() for part in topology.edge_corners)
    facing_array, depth_array = facing.contiguous().numpy(), depth.contiguous().numpy()
    height, width = depth_array.shape[1:]
    jumps_array = np.zeros(len(edges), np.bool_) if jumps is None else jumps.numpy()
    shared = (verts, topology.welded_faces.contiguous().numpy(), edges, corner, offset, facing_array, jumps_array)
    is_candidate = memory.empty((len(verts) * len(edges),), torch.bool).numpy()
    parallel_for(find_candidates, len(is_candidate), 65536, topology.edge_sides.numpy(), *shared[-2:], is_candidate)
    items = np.flatnonzero(is_candidate)
    first = np.zeros(len(items) + 1, np.int64)
    parallel_for(count_segments, len(items), 1024, items, *shared, near, height, width, first[1:])
    np.cumsum(first, out=first)
    n_segments = int(first[-1])
    keep = memory.empty((n_segments,), torch.bool).numpy()
    pixel, face, edge = (memory.empty((n_segments,), torch.int64).numpy() for _ in range(3))
    bary, normal = (memory.empty((n_segments, size), verts_hom.dtype).numpy() for size in (3, 2))
    xy, segment_depth = (memory.empty(size, torch.float64).numpy() for size in ((n_segments, 2), (n_segments,)))
    outputs = (pixel, face, bary, xy, normal, segment_depth, edge)
    parallel_for(fill_segments, len(items), 256, items, first, *shared, depth_array, near, keep, *outputs)
    kept = np.flatnonzero(keep)
    return tuple(torch.from_numpy(output.take(kept, 0)) for output in outputs)  # type: ignore[return-value]
