"""The nearest face at given points on CUDA: each point looks through the faces of its tile. See NOTES.md.

One launch, and for the first query of a raster three more with one host synchronisation: they list the faces of each
tile. The order in a list changes from time to time, results do not.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from diffrender.list_sizes import has_sizes, list_length
from diffrender.ops.rasterize.op import FaceBins
from diffrender.ops.rasterize.triton_cuda import find_item, load_box
from diffrender.ops.triton_launch import launch
from diffrender.ops.triton_raster import EXACT, depth_of, edge_values, inward_edges, is_inside, load_corners

BLOCK = 256
# Points of a program, one warp: few, so that most faces of the tile are skipped because they touch none.
POINTS = 32
# Pixels per side of a tile.
TILE = tl.constexpr(8)


class TileLists(NamedTuple):
    """The faces of tile t (counted over all views) are faces[ends[t - 1] : ends[t]] [L] int32, in no order."""

    ends: Tensor
    faces: Tensor


@triton.jit
def tiles_of(boxes, item, here):
    """Return first column and row, and how many columns and rows, of the tiles that faces touch."""
    first_x, first_y, columns, rows = load_box(boxes, item, here)
    left, top = first_x // TILE, first_y // TILE
    any_pixels = columns > 0
    tiles_x = tl.where(any_pixels, (first_x + columns - 1) // TILE - left + 1, 0)
    return left, top, tiles_x, tl.where(any_pixels, (first_y + rows - 1) // TILE - top + 1, 0)


@triton.jit(do_not_specialize=["n_items"])
def count_tiles(boxes, counts, n_items, BLOCK: tl.constexpr):
    """Write how many tiles each face touches, one lane each."""
    item = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    _, _, columns, rows = tiles_of(boxes, item, item < n_items)
    tl.store(counts + item, columns.to(tl.int64) * rows, item < n_items)


@triton.jit(do_not_specialize=["half", "n_pairs", "n_items", "n_faces", "tiles_x", "n_tiles"])
def file_faces(
    boxes, pair_ends, counts, tile_ends, tile_faces, half, n_pairs, n_items, n_faces, tiles_x, n_tiles,
    FILL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Count the faces of each tile or, counting down again, list them: a lane for each pair of face and tile."""
    pair = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = pair < tl.minimum(tl.load(pair_ends + n_items - 1), n_pairs)
    item = find_item(pair_ends, n_items, half, pair, here)
    nth = (pair - tl.load(pair_ends + item - 1, here & (item > 0), other=0)).to(tl.int32)
    left, top, columns, _ = tiles_of(boxes, item, here)
    columns = tl.maximum(columns, 1)
    tile = item // n_faces * n_tiles + (top + nth // columns) * tiles_x + left + nth % columns
    if FILL:
        left_over = tl.atomic_add(counts + tile, -1, here, sem="relaxed")
        entry = tl.load(tile_ends + tile, here, other=0) - left_over
        tl.store(tile_faces + entry, (item % n_faces).to(tl.int32), here)
    else:
        tl.atomic_add(counts + tile, 1, here, sem="relaxed")


@triton.jit
def pixel_of(coordinate, size):
    """Return the column (row) of the pixels that hold points, the nearest one for points outside."""
    whole = tl.floor(coordinate)
    whole = tl.where(whole > 0, whole, 0.0)
    return tl.where(whole < size - 1, whole, size - 1.0).to(tl.int32)


@triton.jit
def look(
    verts, faces, boxes, part, view, face, x, y, column, row, ignored, here, near_depth, near_face, n_faces, n_verts,
    near, PARTS: tl.constexpr,
):  # fmt: skip
    """Return depth and face nearest to each point, given those so far and one face more."""
    first_x, first_y, columns, rows = load_box(boxes, view * n_faces + face, here)
    here = here & (column >= first_x) & (column < first_x + columns) & (row >= first_y) & (row < first_y + rows)
    if PARTS:
        here = here & (tl.load(part + face, here, other=0) != ignored)
    if tl.max(here.to(tl.int32)) > 0:
        a, b, c = load_corners(verts, faces, n_verts, view, face, here)
        edges = inward_edges(a, b, c)
        values = edge_values(edges, x, y)
        z = depth_of(edges, values)
        nearer = (z < near_depth) | ((z == near_depth) & (face < near_face))
        nearer = nearer & here & is_inside(edges, values) & (z >= near)
        near_depth, near_face = tl.where(nearer, z, near_depth), tl.where(nearer, face, near_face)
    return near_depth, near_face


@triton.jit(do_not_specialize=["n_points", "n_faces", "n_verts", "height", "width", "tiles_x", "n_tiles"])
def query(
    verts, faces, boxes, tile_ends, tile_faces, view, xy, part, ignored, out_face, out_depth, n_points, n_faces,
    n_verts, height, width, tiles_x, n_tiles, near: tl.float64, PARTS: tl.constexpr, POINTS: tl.constexpr,
):  # fmt: skip
    """Write what points see, one lane each; those of view -1 see nothing."""
    q = tl.program_id(0).to(tl.int64) * POINTS + tl.arange(0, POINTS)
    of_view = tl.load(view + q, q < n_points, other=-1)
    here = of_view >= 0
    x, y = tl.load(xy + 2 * q, here, other=0).to(tl.float64), tl.load(xy + 2 * q + 1, here, other=0).to(tl.float64)
    column, row = pixel_of(x, width), pixel_of(y, height)
    hidden = tl.load(ignored + q, here, other=0)
    tile = tl.maximum(of_view, 0) * n_tiles + row // TILE * tiles_x + column // TILE
    first = tl.load(tile_ends + tile - 1, here & (tile > 0), other=0)
    count = tl.load(tile_ends + tile, here, other=0) - tl.where(here, first, 0)
    near_depth, near_face = tl.full(x.shape, float("inf"), tl.float64), tl.full(x.shape, -1, tl.int64)
    nth, most = 0, tl.max(count)
    while nth < most:
        face = tl.load(tile_faces + first + nth, nth < count, other=0).to(tl.int64)
        near_depth, near_face = look(
            verts, faces, boxes, part, of_view, face, x, y, column, row, hidden, nth < count, near_depth, near_face,
            n_faces, n_verts, near, PARTS,
        )  # fmt: skip
        nth += 1
    tl.store(out_face + q, near_face, q < n_points)
    tl.store(out_depth + q, tl.where(near_face >= 0, near_depth, 0.0), q < n_points)


_LISTS = WeakTensorKeyDictionary()


def tile_lists(bounds: Tensor, height: int, width: int) -> TileLists:
    """Return the faces of each tile by their pixel bounds [N, F, 4]; made once, and kept while the bounds are."""
    if bounds not in _LISTS:
        _LISTS[bounds] = _list_faces(bounds, height, width)
    return _LISTS[bounds]


def _list_faces(bounds: Tensor, height: int, width: int) -> TileLists:
    n_views, n_faces = bounds.shape[:2]
    n_items, half = n_views * n_faces, 1 << (n_views * n_faces).bit_length() >> 1
    tiles_x, n_tiles = triton.cdiv(width, TILE.value), triton.cdiv(width, TILE.value) * triton.cdiv(height, TILE.value)
    boxes = bounds.contiguous().view(torch.int64)
    pair_counts = bounds.new_empty(n_items, dtype=torch.int64)
    launch(count_tiles, triton.cdiv(n_items, BLOCK), boxes, pair_counts, n_items, BLOCK=BLOCK)
    pair_ends = pair_counts.cumsum(0)
    n_pairs = list_length(pair_ends[-1:] if n_items else pair_ends.new_zeros(1))
    counts = bounds.new_zeros(n_views * n_tiles, dtype=torch.int32)
    tile_faces = bounds.new_empty(n_pairs, dtype=torch.int32)
    sizes, programs = (half, n_pairs, n_items, n_faces, tiles_x, n_tiles), triton.cdiv(n_pairs, BLOCK)
    launch(file_faces, programs, boxes, pair_ends, counts, counts, tile_faces, *sizes, FILL=False, BLOCK=BLOCK)
    tile_ends = counts.cumsum(0, dtype=torch.int64)
    launch(file_faces, programs, boxes, pair_ends, counts, tile_ends, tile_faces, *sizes, FILL=True, BLOCK=BLOCK)
    return TileLists(tile_ends, tile_faces)


def forward(
    verts_hom: Tensor,
    faces: Tensor,
    view: Tensor,
    xy_px: Tensor,
    height: int,
    width: int,
    bins: FaceBins,
    near: float,
    part: Tensor | None = None,
    ignored: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """See op.query_visibility."""
    face_id, depth = view.new_empty(len(view)), xy_px.new_empty(len(view))
    if len(view) == 0 and not has_sizes():
        return face_id, depth
    lists = tile_lists(bins.bounds, height, width)
    tiles_x, tiles_y = triton.cdiv(width, TILE.value), triton.cdiv(height, TILE.value)
    launch(
        query, triton.cdiv(len(view), POINTS), verts_hom.contiguous(), faces.contiguous(),
        bins.bounds.contiguous().view(torch.int64), *lists, view.contiguous(), xy_px.contiguous(),
        view if part is None else part.contiguous(), view if ignored is None else ignored.contiguous(), face_id, depth,
        len(view), len(faces), verts_hom.shape[1], height, width, tiles_x, tiles_x * tiles_y, near,
        PARTS=part is not None, POINTS=POINTS, num_warps=1, **EXACT,
    )  # fmt: skip
    return face_id, depth
