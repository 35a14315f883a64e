"""Silhouettes on CUDA: count the segments of each edge, mark those that may be seen, write these. Float64 throughout.

Two host synchronisations, none within list_sizes.ListSizes: how many segments there are, and how many are kept.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffrender.geometry.topology import Topology
from diffrender.list_sizes import list_length
from diffrender.ops.rasterize.triton_cuda import find_item
from diffrender.ops.silhouettes.op import HIDDEN_MARGIN, SEGMENT_PX
from diffrender.ops.triton_launch import launch
from diffrender.ops.triton_raster import EXACT, load_vertex

BLOCK = 128
SIZES = ["n_items", "n_edges", "n_verts", "n_faces", "n_segments", "n_kept", "height", "width"]


@triton.jit
def side_of(facing, view, side, n_faces, here):
    """Return on which of the two sides of its edge a face of Topology.edge_sides is, +1 or -1."""
    backwards = side < 0
    face = tl.where(backwards, -1 - side, side).to(tl.int64)
    front = tl.load(facing + view * n_faces + face, here, other=0).to(tl.int32)
    return tl.where(backwards, -front, front)


@triton.jit
def silhouette_side(edges, faces, corner, offset, facing, view, edge, jump, n_faces, here):
    """Return (side, half-edge): where all faces of the edge are (+1, -1; 0 on both sides), and a front one if any.

    Of an edge that jumps, the side of this one. See numba_cpu.
    """
    v0 = tl.load(edges + 2 * edge, here, other=0)
    entry = tl.load(offset + edge, here, other=0)
    end = tl.load(offset + edge + 1, here, other=0)
    chosen, chosen_side = entry * 0 - 1, tl.zeros_like(entry).to(tl.int32)
    last_side, chosen_front = chosen_side, chosen_side
    split = chosen_side != 0
    while tl.max(end - entry, 0) > 0:
        there = entry < end
        half_edge = tl.load(corner + entry, there, other=0)
        front = tl.load(facing + view * n_faces + half_edge // 3, there, other=0).to(tl.int32)
        side = tl.where(tl.load(faces + half_edge, there, other=0) == v0, -front, front)
        split = split | (there & (last_side != 0) & (side != last_side))
        last_side = tl.where(there, side, last_side)
        better = there & ((chosen < 0) | ((front > 0) & (chosen_front < 0)))
        chosen = tl.where(better, half_edge, chosen)
        chosen_side = tl.where(better, side, chosen_side)
        chosen_front = tl.where(better, front, chosen_front)
        entry += 1
    return tl.where(split & (jump == 0), 0, chosen_side), chosen


@triton.jit
def clip_to_axis(p, q, size, u_a, u_b):
    """Return the part of u_a..u_b in which p + u (q - p) is in 0..size."""
    flat = p == q
    step = tl.where(flat, 1.0, q - p)
    enter, leave = -p / step, (size - p) / step
    u_a = tl.where(flat, u_a, tl.maximum(u_a, tl.minimum(enter, leave)))
    u_b = tl.where(flat, u_b, tl.minimum(u_b, tl.maximum(enter, leave)))
    drawn = (tl.abs(p) < float("inf")) & (tl.abs(q) < float("inf")) & ((flat == 0) | ((p >= 0) & (p <= size)))
    return u_a, tl.where(drawn, u_b, -1.0)


@triton.jit
def clip_edge(verts, edges, view, edge, n_verts, near, height, width, here):
    """Return the part of an edge that can be seen: (t_a, t_b, x_a, y_a, w_a, x_b, y_b, w_b, z_0, z_1, u_a, u_b).

    As in numba_cpu; z: depths of the whole edge's ends.
    """
    v0, v1 = tl.load(edges + 2 * edge, here, other=0), tl.load(edges + 2 * edge + 1, here, other=0)
    x0, y0, w0, z0 = load_vertex(verts, view * n_verts + v0, here)
    x1, y1, w1, z1 = load_vertex(verts, view * n_verts + v1, here)
    t = (near - z0) / (z1 - z0)
    t_a = tl.where(z0 < near, t, 0.0)
    t_b = tl.where((z1 < near) & (z0 >= near), t, 1.0)
    dx, dy, dw = x1 - x0, y1 - y0, w1 - w0
    w_a, w_b = w0 + t_a * dw, w0 + t_b * dw
    x_a, y_a = (x0 + t_a * dx) / w_a, (y0 + t_a * dy) / w_a
    x_b, y_b = (x0 + t_b * dx) / w_b, (y0 + t_b * dy) / w_b
    u_a, u_b = clip_to_axis(x_a, x_b, width, tl.zeros_like(t), tl.zeros_like(t) + 1)
    u_a, u_b = clip_to_axis(y_a, y_b, height, u_a, u_b)
    drawn = ((z0 >= near) | (z1 >= near)) & (w_a > 0) & (w_b > 0)
    return t_a, t_b, x_a, y_a, w_a, x_b, y_b, w_b, z0, z1, u_a, tl.where(drawn, u_b, -1.0)


@triton.jit(do_not_specialize=SIZES)
def count_segments(
    verts, edges, sides, corner, offset, faces, facing, jumps, count, chosen, n_items, n_edges, n_verts, n_faces,
    near: tl.float64, height, width, STEP: tl.constexpr, HAS_JUMPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Count the segments of each edge of each view (item = view E + edge); of those with any, write side (half + 1)."""
    item = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = item < n_items
    view, edge = item // n_edges, item % n_edges
    jump = edge < 0
    if HAS_JUMPS:
        jump = tl.load(jumps + edge, here, other=0) != 0
    first = side_of(facing, view, tl.load(sides + 2 * edge, here, other=0), n_faces, here)
    second = side_of(facing, view, tl.load(sides + 2 * edge + 1, here, other=0), n_faces, here)
    # A table of their two faces settles all but a few edges.
    found = here & ((first == second) | jump)
    side, half_edge = silhouette_side(edges, faces, corner, offset, facing, view, edge, jump, n_faces, found)
    found = found & (side != 0)
    _, _, x_a, y_a, _, x_b, y_b, _, _, _, u_a, u_b = clip_edge(
        verts, edges, view, edge, n_verts, near, height, width, found
    )
    length = tl.sqrt((x_b - x_a) * (x_b - x_a) + (y_b - y_a) * (y_b - y_a)) * (u_b - u_a)
    found = found & (u_b > u_a) & (length < float("inf"))
    number = tl.maximum(tl.ceil(tl.where(found, length, 0.0) / STEP), 1.0)
    tl.store(count + item, tl.where(found, number, 0.0).to(tl.int32), here)
    tl.store(chosen + item, side * (half_edge + 1), found)


@triton.jit
def place_segment(verts, edges, ends, item, segment, n_edges, n_verts, near, height, width, here):
    """Return the middle of a segment, x, y, z, row, column, t in space; and its direction in the image, x, y."""
    view, edge = item // n_edges, item % n_edges
    first = tl.load(ends + item - 1, here & (item > 0), other=0)
    number = (tl.load(ends + item, here, other=1) - first).to(tl.float64)
    t_a, t_b, x_a, y_a, w_a, x_b, y_b, w_b, z0, z1, u_a, u_b = clip_edge(
        verts, edges, view, edge, n_verts, near, height, width, here
    )
    u = u_a + ((segment - first).to(tl.float64) + 0.5) / number * (u_b - u_a)
    t = t_a + (t_b - t_a) * (u * w_a / ((1 - u) * w_b + u * w_a))
    x, y, z = x_a + u * (x_b - x_a), y_a + u * (y_b - y_a), (1 - t) * z0 + t * z1
    column = tl.minimum(tl.maximum(tl.floor(x), 0.0), width - 1.0).to(tl.int64)
    row = tl.minimum(tl.maximum(tl.floor(y), 0.0), height - 1.0).to(tl.int64)
    share = (u_b - u_a) / number
    return x, y, z, row, column, t, (x_b - x_a) * share, (y_b - y_a) * share


@triton.jit(do_not_specialize=[*SIZES, "half"])
def mark_kept(
    verts, edges, ends, item_of, depth, keep, half, n_segments, n_items, n_edges, n_verts,
    near: tl.float64, height, width, MARGIN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write of which item each segment is, and whether any of the 3 x 3 pixels around sees nothing plainly nearer."""
    segment = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = segment < tl.minimum(tl.load(ends + n_items - 1), n_segments)
    item = find_item(ends, n_items, half, segment, here)
    tl.store(item_of + segment, item, here)
    _, _, z, row, column, _, _, _ = place_segment(
        verts, edges, ends, item, segment, n_edges, n_verts, near, height, width, here
    )
    around = tl.arange(0, 16)  # the first nine of them
    y, x = row[:, None] + (around // 3 - 1)[None, :], column[:, None] + (around % 3 - 1)[None, :]
    inside = here[:, None] & (around < 9)[None, :] & (y >= 0) & (y < height) & (x >= 0) & (x < width)
    seen = tl.load(depth + ((item // n_edges * height)[:, None] + y) * width + x, inside, other=0)
    opens = inside & ((seen == 0) | (seen >= (z * (1 - MARGIN))[:, None]))
    tl.store(keep + segment, tl.max(opens.to(tl.int8), 1), segment < n_segments)


@triton.jit(do_not_specialize=SIZES)
def write_segments(
    verts, edges, faces, ends, chosen, item_of, keep, kept_ends, pixel, face_out, bary, xy, normal, depth_out, edge_out,
    n_segments, n_kept, n_edges, n_verts, near: tl.float64, height, width, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the segments to keep, each in its place; what is left of the list gets pixel -1 and no length."""
    segment = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = tl.load(keep + segment, segment < n_segments, other=0) != 0
    out = tl.load(kept_ends + segment, here, other=1) - 1
    here = here & (out < n_kept)
    item = tl.load(item_of + segment, here, other=0)
    x, y, z, row, column, t, along_x, along_y = place_segment(
        verts, edges, ends, item, segment, n_edges, n_verts, near, height, width, here
    )
    edge = item % n_edges
    signed = tl.load(chosen + item, here, other=1)
    side, half_edge = tl.where(signed < 0, -1.0, 1.0), tl.abs(signed) - 1
    face, corner_0 = half_edge // 3, half_edge % 3
    corner_1 = (corner_0 + 1) % 3
    forward = tl.load(faces + half_edge, here, other=0) == tl.load(edges + 2 * edge, here, other=0)
    t = tl.where(forward, t, 1 - t)
    tl.store(pixel + out, (item // n_edges * height + row) * width + column, here)
    tl.store(face_out + out, face, here)
    for i in tl.static_range(3):
        tl.store(bary + 3 * out + i, tl.where(corner_0 == i, 1 - t, tl.where(corner_1 == i, t, 0.0)), here)
    tl.store(xy + 2 * out, x, here)
    tl.store(xy + 2 * out + 1, y, here)
    # The faces are where side (v0 x v1) . p >= 0, in the direction side (-along_y, along_x); outwards is the other way.
    tl.store(normal + 2 * out, side * along_y, here)
    tl.store(normal + 2 * out + 1, -side * along_x, here)
    tl.store(depth_out + out, z, here)
    tl.store(edge_out + out, edge, here)

    left = (segment < n_kept) & (segment >= tl.load(kept_ends + n_segments - 1))
    for i in tl.static_range(2):
        tl.store(xy + 2 * segment + i, 0.0, left)
        tl.store(normal + 2 * segment + i, 0.0, left)
    for i in tl.static_range(3):
        tl.store(bary + 3 * segment + i, 1.0 if i == 0 else 0.0, left)
    tl.store(pixel + segment, -1, left)
    tl.store(face_out + segment, 0, left)
    tl.store(edge_out + segment, 0, left)
    tl.store(depth_out + segment, 0.0, left)


def forward(
    verts_hom: Tensor,
    topology: Topology,
    facing: Tensor,
    depth: Tensor,
    near: float,
    jumps: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See op.silhouettes."""
    verts, facing, depth = verts_hom.contiguous(), facing.contiguous(), depth.contiguous()
    edges, faces = topology.edges.contiguous(), topology.welded_faces.contiguous()
    corner, offset = topology.edge_corners
    n_verts, n_edges, n_faces = verts.shape[1], len(edges), len(faces)
    image = (near, *depth.shape[1:])
    n_items = len(verts) * n_edges
    count = edges.new_empty(n_items, dtype=torch.int32)
    chosen = edges.new_empty(n_items)
    launch(
        count_segments, triton.cdiv(n_items, BLOCK), verts, edges, topology.edge_sides, corner, offset, faces, facing,
        facing if jumps is None else jumps.contiguous(), count, chosen, n_items, n_edges, n_verts, n_faces, *image,
        STEP=SEGMENT_PX, HAS_JUMPS=jumps is not None, BLOCK=BLOCK, **EXACT,
    )  # fmt: skip
    ends = count.cumsum(0)
    n_segments = list_length(ends[-1:] if n_items else ends.new_zeros(1))
    item_of, half = edges.new_empty(n_segments), 1 << n_items.bit_length() >> 1
    keep = edges.new_empty(n_segments, dtype=torch.int8)
    launch(
        mark_kept, triton.cdiv(n_segments, BLOCK), verts, edges, ends, item_of, depth, keep, half,
        n_segments, n_items, n_edges, n_verts, *image, MARGIN=HIDDEN_MARGIN, BLOCK=BLOCK, **EXACT,
    )  # fmt: skip
    kept_ends = keep.cumsum(0)
    n_kept = list_length(kept_ends[-1:] if n_segments else kept_ends.new_zeros(1), n_segments)
    pixel, face, edge = (edges.new_empty(n_kept) for _ in range(3))
    bary, normal = verts.new_empty((n_kept, 3)), verts.new_empty((n_kept, 2))
    xy, depth_out = (verts.new_empty(shape, dtype=torch.float64) for shape in ((n_kept, 2), n_kept))
    launch(
        write_segments, triton.cdiv(n_segments, BLOCK), verts, edges, faces, ends, chosen, item_of, keep, kept_ends,
        pixel, face, bary, xy, normal, depth_out, edge, n_segments, n_kept, n_edges, n_verts, *image,
        BLOCK=BLOCK, **EXACT,
    )  # fmt: skip
    return pixel, face, bary, xy, normal, depth_out, edge
