"""Tiled z-buffer for the CPU. The arithmetic is in float64 whatever the input: see NOTES.md.

Kernels divide as NumPy does (`error_model`): what lies exactly in the plane of an edge-on face has the depth 0 / 0, a
NaN that fails the test against `near`, where Python would end the render with a ZeroDivisionError.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.ops.as_numpy import as_numpy
from diffrender.ops.numba_raster import (
    TILE,
    box_in_tile,
    corner_of_tile,
    determinant,
    inward_edges,
    load_corners,
    misses_box,
)
from diffrender.ops.rasterize.op import AROUND_CENTER, FaceBins
from diffrender.threads import parallel_for

HALF = TILE // 2
# Pixels per side of the blocks for which the farthest depth seen is known.
BLOCK = 4
# Faces of one view are counted and filed in this many parts. A constant: the lists must not depend on the threads.
BINNING_PARTS = 8


@njit(nogil=True, cache=True, error_model="numpy")
def bound_faces(start, end, verts, faces, near, height, width, facing, bounds, centers):
    """Write facing, touched pixels and centres of the faces start..end-1 of all views (item = view F + face)."""
    n_faces = faces.shape[0]
    for item in range(start, end):
        view = item // n_faces
        face = item - view * n_faces
        a, b, c = load_corners(verts, faces, view, face)
        det = determinant(a, b, c)
        facing[view, face] = -1 if det > 0 else 1
        for box in (bounds, centers):
            box[view, face, 0] = 0
            box[view, face, 1] = 0
            box[view, face, 2] = -1
            box[view, face, 3] = -1
        if not (abs(det) > 0.0 and abs(det) < np.inf):
            continue
        # The box around the corners that are not cut off, and around the points where edges meet the near plane.
        x_low, y_low, x_high, y_high = np.inf, np.inf, -np.inf, -np.inf
        for corner in range(3):
            p, q = (a, b) if corner == 0 else ((b, c) if corner == 1 else (c, a))
            if p.depth >= near and p.w > 0:
                x_low, x_high = min(x_low, p.x / p.w), max(x_high, p.x / p.w)
                y_low, y_high = min(y_low, p.y / p.w), max(y_high, p.y / p.w)
            if (p.depth >= near) != (q.depth >= near):
                t = (near - p.depth) / (q.depth - p.depth)
                w = p.w + t * (q.w - p.w)
                if w > 0:
                    x = (p.x + t * (q.x - p.x)) / w
                    y = (p.y + t * (q.y - p.y)) / w
                    x_low, x_high = min(x_low, x), max(x_high, x)
                    y_low, y_high = min(y_low, y), max(y_high, y)
        if not (x_high >= 0 and y_high >= 0 and x_low < width and y_low < height):
            continue
        bounds[view, face, 0] = np.int16(math.floor(max(x_low, 0.0)))
        bounds[view, face, 1] = np.int16(math.floor(max(y_low, 0.0)))
        bounds[view, face, 2] = np.int16(math.floor(min(x_high, width - 1.0)))
        bounds[view, face, 3] = np.int16(math.floor(min(y_high, height - 1.0)))
        centers[view, face, 0] = np.int16(math.ceil(max(x_low - AROUND_CENTER, 0.0)))
        centers[view, face, 1] = np.int16(math.ceil(max(y_low - AROUND_CENTER, 0.0)))
        centers[view, face, 2] = np.int16(math.floor(min(x_high - 1 + AROUND_CENTER, width - 1.0)))
        centers[view, face, 3] = np.int16(math.floor(min(y_high - 1 + AROUND_CENTER, height - 1.0)))


@njit(nogil=True, cache=True)
def file_faces(start, end, bounds, n_parts, tiles_x, tiles_y, cursor, tile_faces, fill):
    """Count (fill = False) or list (fill = True) the faces of each tile; item = view n_parts + part.

    cursor: [N, tiles, parts]; counts on the way in when counting, where to write next when filling.
    """
    n_faces = bounds.shape[1]
    for item in range(start, end):
        view = item // n_parts
        part = item - view * n_parts
        for face in range(part * n_faces // n_parts, (part + 1) * n_faces // n_parts):
            if bounds[view, face, 2] < bounds[view, face, 0]:
                continue
            for tile_y in range(bounds[view, face, 1] // TILE, bounds[view, face, 3] // TILE + 1):
                for tile_x in range(bounds[view, face, 0] // TILE, bounds[view, face, 2] // TILE + 1):
                    tile = tile_y * tiles_x + tile_x
                    if fill:
                        tile_faces[cursor[view, tile, part]] = face
                    cursor[view, tile, part] += 1


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def fill_row(edges, near, first_px, py, face, near_depth, near_face):
    """Draw one face in a row of pixels, the centre of the first at (first_px, py).

    Without branches and of a length that the compiler does not know: that becomes a loop over whole vector registers.
    """
    e, f, g = edges
    row_e, row_f, row_g = e.b * py + e.c, f.b * py + f.c, g.b * py + g.c
    for i in range(len(near_depth)):
        px = first_px + i
        e0, e1, e2 = e.a * px + row_e, f.a * px + row_f, g.a * px + row_g
        depth = (e0 * e.depth + e1 * f.depth + e2 * g.depth) / (e0 + e1 + e2)
        old_depth, old_face = near_depth[i], near_face[i]
        nearer = (depth < old_depth) | ((depth == old_depth) & (face < old_face))
        nearer = nearer & (e0 > e.bound) & (e1 > f.bound) & (e2 > g.bound) & (depth >= near)
        near_depth[i] = depth if nearer else old_depth
        near_face[i] = face if nearer else old_face


@njit(nogil=True, cache=True, error_model="numpy")
def fill_row_layers(edges, near, first_x, py, face, near_depth, near_face):
    """Do as fill_row, from column first_x, keeping the K nearest of each pixel in order (near_depth [columns, K])."""
    e, f, g = edges
    row_e, row_f, row_g = e.b * py + e.c, f.b * py + f.c, g.b * py + g.c
    last = near_depth.shape[1] - 1
    for i in range(len(near_depth)):
        px = (first_x + i) + 0.5
        e0, e1, e2 = e.a * px + row_e, f.a * px + row_f, g.a * px + row_g
        depth = (e0 * e.depth + e1 * f.depth + e2 * g.depth) / (e0 + e1 + e2)
        if not (e0 > e.bound and e1 > f.bound and e2 > g.bound and depth >= near):
            continue
        if depth < near_depth[i, last] or (depth == near_depth[i, last] and face < near_face[i, last]):
            k = last
            while k > 0 and (
                depth < near_depth[i, k - 1] or (depth == near_depth[i, k - 1] and face < near_face[i, k - 1])
            ):
                near_depth[i, k] = near_depth[i, k - 1]
                near_face[i, k] = near_face[i, k - 1]
                k -= 1
            near_depth[i, k] = depth
            near_face[i, k] = face


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def draw_face(face, corners, near, left, top, box, near_depth, near_face):
    """Draw one face in the pixels `box` of the tile whose corner is at (left, top)."""
    first_depth, first_face = near_depth.reshape(-1), near_face.reshape(-1)
    a, b, c = corners
    edges = inward_edges(a, b, c)
    low_x, high_x = left + box.first_x + 0.5, left + box.last_x + 0.5
    low_y, high_y = top + box.first_y + 0.5, top + box.last_y + 0.5
    if (
        misses_box(edges[0], low_x, low_y, high_x, high_y)
        or misses_box(edges[1], low_x, low_y, high_x, high_y)
        or misses_box(edges[2], low_x, low_y, high_x, high_y)
    ):
        return
    layers = near_depth.shape[1]
    # The nearest face alone is found in all of a row or in half of it, which takes less time than to begin and end with
    # the face. Face numbers are floats of the width of the depths, so that one vector mask serves both.
    start, columns = box.first_x, box.last_x + 1 - box.first_x
    if layers == 1:
        start, columns = (0, TILE) if columns > HALF else (min(box.first_x, HALF), HALF)
    for y in range(box.first_y, box.last_y + 1):
        py = (top + y) + 0.5
        row = slice(y * TILE + start, y * TILE + start + columns)
        if layers == 1:
            fill_row(edges, near, left + start + 0.5, py, np.float64(face), first_depth[row], first_face[row])
        else:
            fill_row_layers(edges, near, left + start, py, np.float64(face), near_depth[row], near_face[row])


@njit(nogil=True, cache=True)
def find_farthest(near_depth, block_depth):
    """Find the largest depth in each block of a tile."""
    block_depth[:] = 0
    for y in range(TILE):
        for x in range(TILE):
            block_depth[y // BLOCK, x // BLOCK] = max(block_depth[y // BLOCK, x // BLOCK], near_depth[y * TILE + x, 0])


@njit(nogil=True, cache=True, forceinline=True)
def is_behind(depth, block_depth, box):
    """Return whether something nearer than depth is seen in all of these pixels of a tile."""
    for y in range(box.first_y // BLOCK, box.last_y // BLOCK + 1):
        for x in range(box.first_x // BLOCK, box.last_x // BLOCK + 1):
            if not depth > block_depth[y, x]:
                return False
    return True


@njit(nogil=True, cache=True, forceinline=True)
def write_row(near_face, near_depth, out_face, out_depth):
    """Copy a row of a tile into the image."""
    for i in range(len(near_face)):
        out_depth[i] = near_depth[i] if near_face[i] >= 0 else 0.0
        out_face[i] = np.int64(near_face[i])


@njit(nogil=True, cache=True, error_model="numpy")
def fill_tiles(
    start, end, verts, faces, near, facing, centers, tile_offset, tile_faces, tiles_x, tiles_y, out_face, out_depth
):  # fmt: skip
    """Z-buffer the tiles start..end-1 (item = view tiles + tile), K layers sorted by depth."""
    height, width, layers = out_face.shape[1], out_face.shape[2], out_face.shape[3]
    near_depth = np.empty((TILE * TILE, layers), np.float64)
    near_face = np.empty((TILE * TILE, layers), np.float64)
    block_depth = np.full((TILE // BLOCK, TILE // BLOCK), np.inf)
    for item in range(start, end):
        view, left, top = corner_of_tile(item, tiles_x, tiles_y)
        bottom, right = min(top + TILE, height), min(left + TILE, width)

        # A tile without faces.
        if tile_offset[item] == tile_offset[item + 1]:
            out_face[view, top:bottom, left:right] = -1
            out_depth[view, top:bottom, left:right] = 0
            continue
        near_depth[:] = np.inf
        near_face[:] = -1

        # Fronts first: behind a closed surface its back faces are then skipped.
        for side in range(1, -2, -2):
            can_skip = side < 0 and layers == 1
            if can_skip:
                find_farthest(near_depth, block_depth)
            for entry in range(tile_offset[item], tile_offset[item + 1]):
                face = np.int64(tile_faces[entry])
                if facing[view, face] != side:
                    continue
                box = box_in_tile(centers, view, face, left, top)
                if box.last_x < box.first_x or box.last_y < box.first_y:
                    continue
                corners = load_corners(verts, faces, view, face)
                nearest = min(corners[0].depth, corners[1].depth, corners[2].depth)
                if can_skip and is_behind(nearest, block_depth, box):
                    continue
                draw_face(face, corners, near, left, top, box, near_depth, near_face)

        # The part of the tile that is in the image.
        for y in range(bottom - top):
            source = slice(y * TILE * layers, (y * TILE + right - left) * layers)
            first = ((view * height + top + y) * width + left) * layers
            target = slice(first, first + (right - left) * layers)
            write_row(
                near_face.reshape(-1)[source], near_depth.reshape(-1)[source],
                out_face.reshape(-1)[target], out_depth.reshape(-1)[target],
            )  # fmt: skip


def bin_faces(verts: np.ndarray, faces: np.ndarray, near: float, height: int, width: int) -> FaceBins:
    """Return facing, pixel bounds and exact tile lists: count, prefix sum, fill."""
    n_views, n_faces = len(verts), len(faces)
    tiles_x, tiles_y = -(-width // TILE), -(-height // TILE)
    facing = memory.empty((n_views, n_faces), torch.int8)
    bounds, centers = (memory.empty((n_views, n_faces, 4), torch.int16) for _ in range(2))
    outputs = (facing.numpy(), bounds.numpy(), centers.numpy())
    parallel_for(bound_faces, n_views * n_faces, 16384, verts, faces, near, height, width, *outputs)
    n_parts = BINNING_PARTS if n_faces > 16384 else 1
    cursor = np.zeros((n_views, tiles_x * tiles_y, n_parts), np.int64)
    nothing = np.empty(0, np.int32)
    arguments = (bounds.numpy(), n_parts, tiles_x, tiles_y, cursor)
    parallel_for(file_faces, n_views * n_parts, 1, *arguments, nothing, False)
    total = np.cumsum(cursor.reshape(-1))
    tile_faces = memory.empty((int(total[-1]) if len(total) else 0,), torch.int32)
    tile_offset = np.concatenate([np.zeros(1, np.int64), total[n_parts - 1 :: n_parts]])
    cursor[:] = (total - cursor.reshape(-1)).reshape(cursor.shape)
    parallel_for(file_faces, n_views * n_parts, 1, *arguments, tile_faces.numpy(), True)
    return FaceBins(facing, bounds, centers, torch.from_numpy(tile_offset), tile_faces)


def forward(
    verts_hom: Tensor, faces: Tensor, height: int, width: int, near: float, layers: int
) -> tuple[Tensor, Tensor, FaceBins]:
    """See op.rasterize."""
    verts, faces_array = as_numpy(verts_hom, faces)
    bins = bin_faces(verts, faces_array, near, height, width)
    face_id = memory.empty((len(verts), height, width, layers), faces.dtype)
    depth = memory.empty((len(verts), height, width, layers), verts_hom.dtype)
    tiles_x, tiles_y = -(-width // TILE), -(-height // TILE)
    parallel_for(
        fill_tiles,
        len(verts) * tiles_x * tiles_y,
        max(1, tiles_x // 2),
        verts,
        faces_array,
        near,
        *as_numpy(bins.facing, bins.centers, bins.tile_offset, bins.tile_faces),
        tiles_x,
        tiles_y,
        *as_numpy(face_id, depth),
    )
    return face_id, depth, bins
