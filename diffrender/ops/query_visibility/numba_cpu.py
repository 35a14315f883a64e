"""A z-buffer over the points in each tile. Arithmetic in float64, as in rasterize."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.ops.as_numpy import as_numpy
from diffrender.ops.numba_raster import TILE, box_in_tile, corner_of_tile, inward_edges, load_corners
from diffrender.ops.rasterize.op import FaceBins
from diffrender.threads import parallel_for


@njit(nogil=True, cache=True, inline="always")
def pixel_of(xy, q, height, width):
    """Return column and row of the pixel that holds point q, the nearest one for points outside."""
    x, y = xy[q, 0], xy[q, 1]
    # Compared first, because what is too large for an integer becomes any.
    column = width - 1 if x >= width else (np.int64(x) if x > 0 else 0)
    row = height - 1 if y >= height else (np.int64(y) if y > 0 else 0)
    return column, row


@njit(nogil=True, cache=True)
def file_points(view, xy, height, width, tiles_x, tiles_y, offset, order):
    """List the points of each tile: counting sort. Those of tile t become order[offset[t] : offset[t + 1]]."""
    offset[:] = 0
    tile_of = np.empty(len(view), np.int64)
    for q in range(len(view)):
        column, row = pixel_of(xy, q, height, width)
        tile_of[q] = (view[q] * tiles_y + row // TILE) * tiles_x + column // TILE
        offset[tile_of[q] + 2] += 1
    for tile in range(2, len(offset)):
        offset[tile] += offset[tile - 1]
    for q in range(len(view)):
        order[offset[tile_of[q] + 1]] = q
        offset[tile_of[q] + 1] += 1


@njit(nogil=True, cache=True)
def sort_points(begin, end, order, xy, left, top, height, width, first, local, px, py):
    """Sort the points order[begin:end] of a tile by pixel.

    Those of pixel p = y TILE + x become local, px, py[first[p] : first[p + 1]].
    """
    first[:] = 0
    for entry in range(begin, end):
        column, row = pixel_of(xy, order[entry], height, width)
        first[(row - top) * TILE + column - left + 2] += 1
    for p in range(2, len(first)):
        first[p] += first[p - 1]
    for entry in range(begin, end):
        q = order[entry]
        column, row = pixel_of(xy, q, height, width)
        p = (row - top) * TILE + column - left + 1
        local[first[p]], px[first[p]], py[first[p]] = q, xy[q, 0], xy[q, 1]
        first[p] += 1


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def draw_points(edges, near, face, begin, end, px, py, near_depth, near_face):
    """Draw one face at the points begin..end-1 of a tile."""
    e, f, g = edges
    for i in range(begin, end):
        x, y = px[i], py[i]
        e0, e1, e2 = e.a * x + (e.b * y + e.c), f.a * x + (f.b * y + f.c), g.a * x + (g.b * y + g.c)
        if e0 > e.bound and e1 > f.bound and e2 > g.bound:
            depth = (e0 * e.depth + e1 * f.depth + e2 * g.depth) / (e0 + e1 + e2)
            if depth >= near and depth < near_depth[i]:
                near_depth[i] = depth
                near_face[i] = face


@njit(nogil=True, cache=True, error_model="numpy")
def fill_points(
    start, end, verts, faces, near, bounds, tile_offset, tile_faces, tiles_x, tiles_y,
    height, width, xy, part, ignored, offset, order, out_face, out_depth,
):  # fmt: skip
    """Z-buffer the points in the tiles start..end-1."""
    first = np.empty(TILE * TILE + 2, np.int64)
    for item in range(start, end):
        n_points = offset[item + 1] - offset[item]
        if n_points == 0:
            continue
        view, left, top = corner_of_tile(item, tiles_x, tiles_y)

        # The points of the tile, sorted by pixel; nothing is seen yet.
        local, px, py = np.empty(n_points, np.int64), np.empty(n_points), np.empty(n_points)
        near_depth, near_face = np.full(n_points, np.inf), np.full(n_points, -1)
        sort_points(offset[item], offset[item + 1], order, xy, left, top, height, width, first, local, px, py)

        # Each face at the points in its bounds, row by row; ascending faces, so that ties go to the lower one.
        for entry in range(tile_offset[item], tile_offset[item + 1]):
            face = np.int64(tile_faces[entry])
            box = box_in_tile(bounds, view, face, left, top)
            if first[box.first_y * TILE + box.first_x] == first[box.last_y * TILE + box.last_x + 1]:
                continue
            a, b, c = load_corners(verts, faces, view, face)
            edges = inward_edges(a, b, c)
            for y in range(box.first_y, box.last_y + 1):
                for slot in range(first[y * TILE + box.first_x], first[y * TILE + box.last_x + 1]):
                    if part[face] != ignored[local[slot]]:
                        draw_points(edges, near, face, slot, slot + 1, px, py, near_depth, near_face)

        for slot in range(n_points):
            out_face[local[slot]] = near_face[slot]
            out_depth[local[slot]] = near_depth[slot] if near_face[slot] >= 0 else 0.0


def forward(
    verts_hom: Tensor,
    faces: Tensor,
    view: Tensor,
    xy_px: Tensor,
    height: int,
    width: int,
    bins: FaceBins,
    near: float,
    part: Tensor,
    ignored: Tensor,
) -> tuple[Tensor, Tensor]:
    """See op.query_visibility."""
    verts, faces_array, view_array, xy = as_numpy(verts_hom, faces, view, xy_px)
    tiles_x, tiles_y = -(-width // TILE), -(-height // TILE)
    offset = np.empty(len(verts) * tiles_x * tiles_y + 2, np.int64)
    order = memory.empty((len(xy),), torch.int64).numpy()
    file_points(view_array, xy, height, width, tiles_x, tiles_y, offset, order)
    out_face = memory.empty((len(xy),), view.dtype)
    out_depth = memory.empty((len(xy),), xy_px.dtype)
    parallel_for(
        fill_points,
        len(verts) * tiles_x * tiles_y,
        max(1, tiles_x // 2),
        verts,
        faces_array,
        near,
        *as_numpy(bins.bounds, bins.tile_offset, bins.tile_faces),
        tiles_x,
        tiles_y,
        height,
        width,
        xy,
        part.numpy(),
        ignored.numpy(),
        offset,
        order,
        out_face.numpy(),
        out_depth.numpy(),
    )
    return out_face, out_depth
