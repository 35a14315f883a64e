"""A z-buffer over the points in each tile. Arithmetic in float64, as in rasterize."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from diffrender.ops.as_numpy import as_numpy
from diffrender.ops.rasterize.numba_cpu import TILE, inward_lines, load_vertex
from diffrender.ops.rasterize.op import FaceBins
from diffrender.threads import parallel_for


@njit(nogil=True, cache=True, inline="always")
def pixel_of(place, q, height, width):
    """Column and row of the pixel that holds point q, the nearest one for points outside."""
    column = min(max(np.int64(np.floor(place[q, 0])), 0), width - 1)
    row = min(max(np.int64(np.floor(place[q, 1])), 0), height - 1)
    return column, row


@njit(nogil=True, cache=True)
def file_points(view, place, height, width, tiles_x, tiles_y, offset, order):
    """List the points of each tile: counting sort. Those of tile t become order[offset[t] : offset[t + 1]]."""
    offset[:] = 0
    tile_of = np.empty(len(view), np.int64)
    for q in range(len(view)):
        column, row = pixel_of(place, q, height, width)
        tile_of[q] = (view[q] * tiles_y + row // TILE) * tiles_x + column // TILE
        offset[tile_of[q] + 2] += 1
    for tile in range(2, len(offset)):
        offset[tile] += offset[tile - 1]
    for q in range(len(view)):
        order[offset[tile_of[q] + 1]] = q
        offset[tile_of[q] + 1] += 1


@njit(nogil=True, cache=True)
def sort_points(begin, end, order, place, left, top, height, width, first, local, px, py):
    """Sort the points order[begin:end] of a tile by pixel.

    Those of pixel p = y TILE + x become local, px, py[first[p] : first[p + 1]].
    """
    first[:] = 0
    for entry in range(begin, end):
        column, row = pixel_of(place, order[entry], height, width)
        first[(row - top) * TILE + column - left + 2] += 1
    for p in range(2, len(first)):
        first[p] += first[p - 1]
    for entry in range(begin, end):
        q = order[entry]
        column, row = pixel_of(place, q, height, width)
        p = (row - top) * TILE + column - left + 1
        local[first[p]], px[first[p]], py[first[p]] = q, place[q, 0], place[q, 1]
        first[p] += 1


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def draw_points(
    a0, b0, c0, bound0, z0, a1, b1, c1, bound1, z1, a2, b2, c2, bound2, z2, near, face,
    begin, end, px, py, near_depth, near_face,
):  # fmt: skip
    """One face at the points begin..end-1 of a tile."""
    for i in range(begin, end):
        x, y = px[i], py[i]
        e0, e1, e2 = a0 * x + (b0 * y + c0), a1 * x + (b1 * y + c1), a2 * x + (b2 * y + c2)
        if e0 > bound0 and e1 > bound1 and e2 > bound2:
            depth = (e0 * z0 + e1 * z1 + e2 * z2) / (e0 + e1 + e2)
            if depth >= near and depth < near_depth[i]:
                near_depth[i] = depth
                near_face[i] = face


@njit(nogil=True, cache=True, error_model="numpy")
def fill_points(
    start, end, verts, faces, near, bounds, tile_offset, tile_faces, tiles_x, tiles_y,
    height, width, place, offset, order, out_face, out_depth,
):  # fmt: skip
    """Z-buffer of the points in the tiles start..end-1."""
    n_tiles = tiles_x * tiles_y
    first = np.empty(TILE * TILE + 2, np.int64)
    for item in range(start, end):
        n_points = offset[item + 1] - offset[item]
        if n_points == 0:
            continue
        view = item // n_tiles
        left = (item % n_tiles) % tiles_x * TILE
        top = (item % n_tiles) // tiles_x * TILE
        local, px, py = np.empty(n_points, np.int64), np.empty(n_points), np.empty(n_points)
        near_depth, near_face = np.full(n_points, np.inf), np.full(n_points, -1)
        sort_points(offset[item], offset[item + 1], order, place, left, top, height, width, first, local, px, py)
        for entry in range(tile_offset[item], tile_offset[item + 1]):
            face = np.int64(tile_faces[entry])
            first_x = max(np.int64(bounds[view, face, 0]) - left, 0)
            first_y = max(np.int64(bounds[view, face, 1]) - top, 0)
            last_x = min(np.int64(bounds[view, face, 2]) - left, TILE - 1)
            last_y = min(np.int64(bounds[view, face, 3]) - top, TILE - 1)
            if first[first_y * TILE + first_x] == first[last_y * TILE + last_x + 1]:
                continue
            a = load_vertex(verts, view, faces[face, 0])
            b = load_vertex(verts, view, faces[face, 1])
            c = load_vertex(verts, view, faces[face, 2])
            a0, b0, c0, bound0, a1, b1, c1, bound1, a2, b2, c2, bound2 = inward_lines(a, b, c)
            for y in range(first_y, last_y + 1):
                draw_points(
                    a0, b0, c0, bound0, a[3], a1, b1, c1, bound1, b[3], a2, b2, c2, bound2, c[3], near, face,
                    first[y * TILE + first_x], first[y * TILE + last_x + 1], px, py, near_depth, near_face,
                )  # fmt: skip
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
) -> tuple[Tensor, Tensor]:
    """See op.probe."""
    verts, faces_array, view_array, place = as_numpy(verts_hom, faces, view, xy_px)
    tiles_x, tiles_y = -(-width // TILE), -(-height // TILE)
    offset = np.empty(len(verts) * tiles_x * tiles_y + 2, np.int64)
    order = np.empty(len(place), np.int64)
    file_points(view_array, place, height, width, tiles_x, tiles_y, offset, order)
    out_face = torch.empty(len(place), dtype=torch.int64)
    out_depth = torch.empty(len(place), dtype=xy_px.dtype)
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
        place,
        offset,
        order,
        out_face.numpy(),
        out_depth.numpy(),
    )
    return out_face, out_depth
