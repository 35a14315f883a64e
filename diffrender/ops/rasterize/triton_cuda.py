"""Z-buffer on CUDA: all faces are drawn at once, and atomic minima decide which is nearest. See NOTES.md.

A launch, a cumulative sum, and two launches per layer; no host synchronisation. The result is the same to the bit each
time, because a minimum does not depend on the order.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffrender.ops.rasterize.op import AROUND_CENTER, FaceBins
from diffrender.ops.triton_launch import launch
from diffrender.ops.triton_raster import (
    EXACT,
    depth_of,
    determinant,
    edge_values,
    inward_edges,
    is_inside,
    load_corners,
    misses_box,
)

BLOCK = 128
# Entries of the image that a program of the first kernel clears.
CLEARED = 1024
# Faces are drawn in cells of CELL x CELL pixels of their boxes, each by SHARING of the DRAWN lanes of a program.
CELL = tl.constexpr(16)
SHARING = 4
DRAWN = 128
# Programs that share what is not the first cell of a face.
MORE_PROGRAMS = 2048
# The key of a pixel that sees nothing: above all depths.
NOTHING = tl.constexpr(2**63 - 1)
# The pixel bounds (0, 0, -1, -1), read as one int64.
EMPTY = tl.constexpr(-(2**32))


@triton.jit
def widen(box, point_x, point_y, here):
    """Return the box (low x, low y, high x, high y) around itself and, in the lanes `here`, a point."""
    low_x, low_y, high_x, high_y = box
    return (
        tl.where(here & (point_x < low_x), point_x, low_x),
        tl.where(here & (point_y < low_y), point_y, low_y),
        tl.where(here & (point_x > high_x), point_x, high_x),
        tl.where(here & (point_y > high_y), point_y, high_y),
    )


@triton.jit
def widen_to_edge(box, p, q, near):
    """Return the box around itself, the corner p if it is not cut off, and where the edge to q meets the near plane."""
    box = widen(box, p[0] / p[2], p[1] / p[2], (p[3] >= near) & (p[2] > 0))
    crosses = (p[3] >= near) != (q[3] >= near)
    t = (near - p[3]) / tl.where(crosses, q[3] - p[3], 1.0)
    w = p[2] + t * (q[2] - p[2])
    return widen(box, (p[0] + t * (q[0] - p[0])) / w, (p[1] + t * (q[1] - p[1])) / w, crosses & (w > 0))


@triton.jit
def store_box(out, item, low_x, low_y, high_x, high_y, drawn, here):
    """Write pixel bounds (floats, already whole); those of faces that are not drawn are empty."""
    tl.store(out + 4 * item, tl.where(drawn, low_x, 0).to(tl.int16), here)
    tl.store(out + 4 * item + 1, tl.where(drawn, low_y, 0).to(tl.int16), here)
    tl.store(out + 4 * item + 2, tl.where(drawn, high_x, -1).to(tl.int16), here)
    tl.store(out + 4 * item + 3, tl.where(drawn, high_y, -1).to(tl.int16), here)


@triton.jit
def load_box(boxes, item, here):
    """Return first column and row, and how many columns and rows, of pixel bounds [N, F, 4], read as int64 [N, F]."""
    box = tl.load(boxes + item, here, other=EMPTY)
    first_x, first_y = (box << 48 >> 48).to(tl.int32), (box << 32 >> 48).to(tl.int32)
    last_x, last_y = (box << 16 >> 48).to(tl.int32), (box >> 48).to(tl.int32)
    return first_x, first_y, tl.maximum(last_x - first_x + 1, 0), tl.maximum(last_y - first_y + 1, 0)


@triton.jit
def bound_faces(
    verts, faces, facing, bounds, centers, more, item, n_items, n_faces, n_verts, height, width, near,
    AROUND: tl.constexpr,
):  # fmt: skip
    """Write facing, bounds, centers and the number of cells beyond one of faces, a lane each (item = view F + face)."""
    here = item < n_items
    a, b, c = load_corners(verts, faces, n_verts, item // n_faces, item % n_faces, here)
    det = determinant(a, b, c)
    tl.store(facing + item, tl.where(det > 0, -1, 1).to(tl.int8), here)
    far = tl.full(det.shape, float("inf"), tl.float64)
    box = widen_to_edge((far, far, -far, -far), a, b, near)
    low_x, low_y, high_x, high_y = widen_to_edge(widen_to_edge(box, b, c, near), c, a, near)
    has_area = (tl.abs(det) > 0) & (tl.abs(det) < float("inf"))
    drawn = has_area & (high_x >= 0) & (high_y >= 0) & (low_x < width) & (low_y < height)
    store_box(
        bounds, item, tl.floor(tl.maximum(low_x, 0.0)), tl.floor(tl.maximum(low_y, 0.0)),
        tl.floor(tl.minimum(high_x, width - 1.0)), tl.floor(tl.minimum(high_y, height - 1.0)), drawn, here,
    )  # fmt: skip
    first_x, first_y = tl.ceil(tl.maximum(low_x - AROUND, 0.0)), tl.ceil(tl.maximum(low_y - AROUND, 0.0))
    last_x = tl.floor(tl.minimum(high_x - 1 + AROUND, width - 1.0))
    last_y = tl.floor(tl.minimum(high_y - 1 + AROUND, height - 1.0))
    store_box(centers, item, first_x, first_y, last_x, last_y, drawn, here)
    columns = tl.where(drawn, last_x - first_x + 1, 0).to(tl.int64)
    rows = tl.where(drawn, last_y - first_y + 1, 0).to(tl.int64)
    tl.store(more + item, tl.maximum(tl.cdiv(columns, CELL) * tl.cdiv(rows, CELL) - 1, 0), here)


@triton.jit(do_not_specialize=["n_items", "n_faces", "n_verts", "n_entries", "height", "width"])
def prepare(
    verts, faces, facing, bounds, centers, more, keys, face_id, depth, n_items, n_faces, n_verts, n_entries,
    height, width, near: tl.float64, AROUND: tl.constexpr, BLOCK: tl.constexpr, CLEARED: tl.constexpr,
):  # fmt: skip
    """Bound a block of faces, and clear a block of the image."""
    program = tl.program_id(0).to(tl.int64)
    entry = program * CLEARED + tl.arange(0, CLEARED)
    tl.store(keys + entry, NOTHING, entry < n_entries)
    tl.store(face_id + entry, -1, entry < n_entries)
    tl.store(depth + entry, 0.0, entry < n_entries)
    if program * BLOCK < n_items:
        bound_faces(
            verts, faces, facing, bounds, centers, more, program * BLOCK + tl.arange(0, BLOCK), n_items, n_faces,
            n_verts, height, width, near, AROUND,
        )  # fmt: skip


@triton.jit
def order_of(depth):
    """Return integers in the order of depths, none of them NaN."""
    bits = (depth + 0.0).to(tl.int64, bitcast=True)  # the sum makes one zero of two
    return bits ^ ((bits >> 63) & NOTHING)


@triton.jit
def enter(edges, face, entry, x, y, here, near, keys, face_id, depth, BEHIND: tl.constexpr, DECIDED: tl.constexpr):
    """Enter faces in pixels of a layer: their depths or, once the nearest is DECIDED, the lowest face that deep.

    entry: of the pixel in the layer. If BEHIND, only what is behind the entry before counts.
    """
    values = edge_values(edges, x + 0.5, y + 0.5)
    z = depth_of(edges, values)
    drawn = here & is_inside(edges, values) & (z >= near) & (z < float("inf"))
    key = order_of(z)
    if BEHIND:
        before = tl.load(keys + entry - 1, drawn, other=NOTHING)
        before_face = tl.load(face_id + entry - 1, drawn, other=0)
        drawn = drawn & ((key > before) | ((key == before) & (face > before_face)))
    if DECIDED:
        drawn = drawn & (tl.load(keys + entry, drawn, other=NOTHING) == key)
        # Nothing is -1, the largest number without a sign.
        target = (face_id + entry).to(tl.pointer_type(tl.uint64), bitcast=True)
        tl.atomic_min(target, face.to(tl.uint64, bitcast=True), drawn, sem="relaxed")
        tl.store(depth + entry, z, drawn)
    else:
        tl.atomic_min(keys + entry, key, drawn, sem="relaxed")


@triton.jit
def find_item(ends, n_items, half, nth, here):
    """Return to which item each nth thing belongs, if those of an item end at ends[item]: how many have ended before.

    half: the largest power of two up to n_items.
    """
    item = nth * 0
    while half > 0:
        ended = here & (item + half <= n_items)
        ended = ended & (tl.load(ends + item + half - 1, ended, other=0) <= nth)
        item = tl.where(ended, item + half, item)
        half = half // 2
    return item


@triton.jit
def draw_cells(
    item, nth, here, share, verts, faces, boxes, keys, face_id, depth, n_faces, n_verts, height, width, layer, layers,
    near, BEHIND: tl.constexpr, DECIDED: tl.constexpr, SHARING: tl.constexpr,
):  # fmt: skip
    """Draw the nth cell of the box of each face; this lane's share of its pixels is the first, the second, ..."""
    first_x, first_y, columns, rows = load_box(boxes, item, here)
    cells_x = tl.maximum(tl.cdiv(columns, CELL), 1)
    left, top = first_x + nth % cells_x * CELL, first_y + nth // cells_x * CELL
    columns, rows = tl.minimum(first_x + columns - left, CELL), tl.minimum(first_y + rows - top, CELL)
    n_pixels = tl.where(here, columns * rows, 0)
    if tl.max(n_pixels) > 0:
        view, face = item // n_faces, item % n_faces
        a, b, c = load_corners(verts, faces, n_verts, view, face, n_pixels > 0)
        edges = inward_edges(a, b, c)
        for edge in tl.static_range(3):
            misses = misses_box(edges[edge], left + 0.5, top + 0.5, left + columns - 0.5, top + rows - 0.5)
            n_pixels = tl.where(misses, 0, n_pixels)
        most, start, per_row = tl.max(n_pixels), 0, 1.0 / tl.maximum(columns, 1).to(tl.float32)
        first_entry = view * height * width * layers + layer
        while start < most:
            at = start + share
            row = ((at + 0.5) * per_row).to(tl.int32)  # a division that is exact for numbers this small
            x, y = left + at - row * columns, top + row
            entry = first_entry + (y * width + x).to(tl.int64) * layers
            enter(edges, face, entry, x, y, at < n_pixels, near, keys, face_id, depth, BEHIND, DECIDED)
            start += SHARING


@triton.jit(do_not_specialize=["n_more", "half", "n_items", "n_faces", "n_verts", "height", "width", "layer", "layers"])
def draw(
    verts, faces, boxes, ends, keys, face_id, depth, n_more, half, n_items, n_faces, n_verts, height, width, layer,
    layers, near: tl.float64, BEHIND: tl.constexpr, DECIDED: tl.constexpr, SHARING: tl.constexpr, DRAWN: tl.constexpr,
):  # fmt: skip
    """Draw all faces in a layer, SHARING lanes for a cell: first cells, and in the first n_more programs all others."""
    program, lane = tl.program_id(0).to(tl.int64), tl.arange(0, DRAWN)
    unit, share = lane // SHARING, lane % SHARING
    if program < n_more:
        total = tl.load(ends + n_items - 1)
        start = program * (DRAWN // SHARING)
        while start < total:
            here = start + unit < total
            item = find_item(ends, n_items, half, start + unit, here)
            nth = 1 + start + unit - tl.load(ends + item - 1, here & (item > 0), other=0)
            draw_cells(
                item, nth.to(tl.int32), here, share, verts, faces, boxes, keys, face_id, depth, n_faces, n_verts,
                height, width, layer, layers, near, BEHIND, DECIDED, SHARING,
            )  # fmt: skip
            start += n_more.to(tl.int64) * (DRAWN // SHARING)
    else:
        item = (program - n_more) * (DRAWN // SHARING) + unit
        draw_cells(
            item, unit * 0, item < n_items, share, verts, faces, boxes, keys, face_id, depth, n_faces, n_verts,
            height, width, layer, layers, near, BEHIND, DECIDED, SHARING,
        )  # fmt: skip


def forward(
    verts_hom: Tensor, faces: Tensor, height: int, width: int, near: float, layers: int
) -> tuple[Tensor, Tensor, FaceBins]:
    """See op.rasterize."""
    verts, faces = verts_hom.contiguous(), faces.contiguous()
    n_views, n_verts, n_faces = len(verts), verts.shape[1], len(faces)
    n_items, n_entries = n_views * n_faces, n_views * height * width * layers
    facing = torch.empty((n_views, n_faces), dtype=torch.int8, device=verts.device)
    bounds, centers = (facing.new_empty((n_views, n_faces, 4), dtype=torch.int16) for _ in range(2))
    face_id = faces.new_empty((n_views, height, width, layers))
    keys, more = torch.empty_like(face_id), faces.new_empty(n_items)
    depth = verts.new_empty(face_id.shape)
    launch(
        prepare, max(triton.cdiv(n_items, BLOCK), triton.cdiv(n_entries, CLEARED)),
        verts, faces, facing, bounds, centers, more, keys, face_id, depth, n_items, n_faces, n_verts, n_entries,
        height, width, near, AROUND=AROUND_CENTER, BLOCK=BLOCK, CLEARED=CLEARED, **EXACT,
    )  # fmt: skip
    boxes, ends, half = centers.view(torch.int64), more.cumsum(0), 1 << n_items.bit_length() >> 1
    n_first, n_more = triton.cdiv(n_items * SHARING, DRAWN), 0
    if max(height, width) > CELL.value:
        n_more = min(MORE_PROGRAMS, n_first * triton.cdiv(height, CELL.value) * triton.cdiv(width, CELL.value))
    for layer in range(layers):
        for decided in (False, True):
            launch(
                draw, n_first + n_more, verts, faces, boxes, ends, keys, face_id, depth, n_more, half, n_items,
                n_faces, n_verts, height, width, layer, layers, near,
                BEHIND=layer > 0, DECIDED=decided, SHARING=SHARING, DRAWN=DRAWN, **EXACT,
            )  # fmt: skip
    return face_id, depth, FaceBins(facing, bounds, centers, faces.new_empty(0), faces.new_empty(0, dtype=torch.int32))
