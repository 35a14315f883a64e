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

from diffrender.ops.rasterize.op import AROUND_CENTER, FaceBins
from diffrender.threads import parallel_for

TILE = 16
HALF = TILE // 2
# The farthest depth seen is known for blocks of so many pixels a side.
BLOCK = 4
# Faces of one view are counted and filed in this many pieces. A constant: the lists must not depend on the threads.
BINNING_PIECES = 8
# The largest number that is below 0 even where the processor flushes denormal numbers (torch.set_flush_denormal).
BELOW_ZERO = -2.2250738585072014e-308


@njit(nogil=True, cache=True, inline="always")
def edge_functions(a, b, c):
    """Coefficients (A, B, C) of the three edge functions A x + B y + C of a triangle, and its determinant.

    The cross product of two homogeneous vertices is the line through them. Exchanging the two negates the line to the
    last bit, which is what makes neighbours watertight.
    """
    a0 = b[1] * c[2] - b[2] * c[1]
    b0 = b[2] * c[0] - b[0] * c[2]
    c0 = b[0] * c[1] - b[1] * c[0]
    a1 = c[1] * a[2] - c[2] * a[1]
    b1 = c[2] * a[0] - c[0] * a[2]
    c1 = c[0] * a[1] - c[1] * a[0]
    a2 = a[1] * b[2] - a[2] * b[1]
    b2 = a[2] * b[0] - a[0] * b[2]
    c2 = a[0] * b[1] - a[1] * b[0]
    det = a[0] * a0 + a[1] * b0 + a[2] * c0
    return a0, b0, c0, a1, b1, c1, a2, b2, c2, det


@njit(nogil=True, cache=True, inline="always")
def load_vertex(verts, view, vertex):
    """One vertex in float64: x w, y w, w, depth."""
    return (
        np.float64(verts[view, vertex, 0]),
        np.float64(verts[view, vertex, 1]),
        np.float64(verts[view, vertex, 2]),
        np.float64(verts[view, vertex, 3]),
    )


@njit(nogil=True, cache=True, error_model="numpy")
def bound_faces(start, end, verts, faces, near, height, width, facing, bounds, centers):
    """Facing, touched pixels and centres of the faces start..end-1 of all views (item = view F + face)."""
    n_faces = faces.shape[0]
    for item in range(start, end):
        view = item // n_faces
        face = item - view * n_faces
        a = load_vertex(verts, view, faces[face, 0])
        b = load_vertex(verts, view, faces[face, 1])
        c = load_vertex(verts, view, faces[face, 2])
        det = edge_functions(a, b, c)[9]
        facing[view, face] = -1 if det > 0 else 1
        for box in (bounds, centers):
            box[view, face, 0] = 0
            box[view, face, 1] = 0
            box[view, face, 2] = -1
            box[view, face, 3] = -1
        if not (abs(det) > 0.0 and abs(det) < np.inf):
            continue
        x_low, y_low, x_high, y_high = np.inf, np.inf, -np.inf, -np.inf
        for corner in range(3):
            p, q = (a, b) if corner == 0 else ((b, c) if corner == 1 else (c, a))
            if p[3] >= near and p[2] > 0:
                x_low, x_high = min(x_low, p[0] / p[2]), max(x_high, p[0] / p[2])
                y_low, y_high = min(y_low, p[1] / p[2]), max(y_high, p[1] / p[2])
            if (p[3] >= near) != (q[3] >= near):
                t = (near - p[3]) / (q[3] - p[3])
                w = p[2] + t * (q[2] - p[2])
                if w > 0:
                    x = (p[0] + t * (q[0] - p[0])) / w
                    y = (p[1] + t * (q[1] - p[1])) / w
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
def file_faces(start, end, bounds, n_pieces, tiles_x, tiles_y, cursor, tile_faces, fill):
    """Count (fill = False) or list (fill = True) the faces of each tile; item = view n_pieces + piece.

    cursor: [N, tiles, pieces]; counts on the way in when counting, where to write next when filling.
    """
    n_faces = bounds.shape[1]
    for item in range(start, end):
        view = item // n_pieces
        piece = item - view * n_pieces
        for face in range(piece * n_faces // n_pieces, (piece + 1) * n_faces // n_pieces):
            if bounds[view, face, 2] < bounds[view, face, 0]:
                continue
            for tile_y in range(bounds[view, face, 1] // TILE, bounds[view, face, 3] // TILE + 1):
                for tile_x in range(bounds[view, face, 0] // TILE, bounds[view, face, 2] // TILE + 1):
                    tile = tile_y * tiles_x + tile_x
                    if fill:
                        tile_faces[cursor[view, tile, piece]] = face
                    cursor[view, tile, piece] += 1


@njit(nogil=True, cache=True, inline="always")
def inward_lines(a, b, c):
    """The edge functions, positive inside, and for each the value that a point inside must exceed.

    Points exactly on an edge belong to the face whose left or top edge it is: there the bound is the largest number
    below 0, elsewhere 0.
    """
    a0, b0, c0, a1, b1, c1, a2, b2, c2, det = edge_functions(a, b, c)
    if det < 0:
        a0, b0, c0, a1, b1, c1, a2, b2, c2 = -a0, -b0, -c0, -a1, -b1, -c1, -a2, -b2, -c2
    bound0 = BELOW_ZERO if a0 > 0 or (a0 == 0 and b0 > 0) else 0.0
    bound1 = BELOW_ZERO if a1 > 0 or (a1 == 0 and b1 > 0) else 0.0
    bound2 = BELOW_ZERO if a2 > 0 or (a2 == 0 and b2 > 0) else 0.0
    return a0, b0, c0, bound0, a1, b1, c1, bound1, a2, b2, c2, bound2


@njit(nogil=True, cache=True, inline="always")
def misses_box(a, b, c, bound, low_x, low_y, high_x, high_y):
    """Whether a x + (b y + c) <= bound in the whole box; evaluated as at a point of it, so that rounding hides none."""
    return a * (high_x if a > 0 else low_x) + (b * (high_y if b > 0 else low_y) + c) <= bound


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def fill_row(
    a0, r0, bound0, z0, a1, r1, bound1, z1, a2, r2, bound2, z2, near, first_px, face, near_depth, near_face
):  # fmt: skip
    """One face in a row of pixels, the centre of the first at first_px.

    Without branches and of a length that the compiler does not know: that becomes a loop over whole vector registers.
    """
    for i in range(len(near_depth)):
        px = first_px + i
        e0 = a0 * px + r0
        e1 = a1 * px + r1
        e2 = a2 * px + r2
        depth = (e0 * z0 + e1 * z1 + e2 * z2) / (e0 + e1 + e2)
        old_depth, old_face = near_depth[i], near_face[i]
        nearer = (depth < old_depth) | ((depth == old_depth) & (face < old_face))
        nearer = nearer & (e0 > bound0) & (e1 > bound1) & (e2 > bound2) & (depth >= near)
        near_depth[i] = depth if nearer else old_depth
        near_face[i] = face if nearer else old_face


@njit(nogil=True, cache=True, error_model="numpy")
def fill_row_layers(
    a0, r0, bound0, z0, a1, r1, bound1, z1, a2, r2, bound2, z2, near, first_x, face, near_depth, near_face
):  # fmt: skip
    """As fill_row, keeping the K nearest of each pixel in order: near_depth, near_face [columns, K]."""
    last = near_depth.shape[1] - 1
    for i in range(len(near_depth)):
        px = (first_x + i) + 0.5
        e0 = a0 * px + r0
        e1 = a1 * px + r1
        e2 = a2 * px + r2
        depth = (e0 * z0 + e1 * z1 + e2 * z2) / (e0 + e1 + e2)
        if not (e0 > bound0 and e1 > bound1 and e2 > bound2 and depth >= near):
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
def draw_face(face, a, b, c, near, left, top, first_x, first_y, last_x, last_y, near_depth, near_face):
    """One face in the pixels first_x..last_x, first_y..last_y of the tile whose corner is at (left, top)."""
    first_depth, first_face = near_depth.reshape(-1), near_face.reshape(-1)
    a0, b0, c0, bound0, a1, b1, c1, bound1, a2, b2, c2, bound2 = inward_lines(a, b, c)
    low_x, high_x, low_y, high_y = left + first_x + 0.5, left + last_x + 0.5, top + first_y + 0.5, top + last_y + 0.5
    if (
        misses_box(a0, b0, c0, bound0, low_x, low_y, high_x, high_y)
        or misses_box(a1, b1, c1, bound1, low_x, low_y, high_x, high_y)
        or misses_box(a2, b2, c2, bound2, low_x, low_y, high_x, high_y)
    ):
        return
    layers = near_depth.shape[1]
    # The nearest face alone is found in all of a row or in half of it, which takes less time than to begin and end with
    # the face. Face numbers are floats of the width of the depths, so that one vector mask serves both.
    start, columns = first_x, last_x + 1 - first_x
    if layers == 1:
        start, columns = (0, TILE) if columns > HALF else (min(first_x, HALF), HALF)
    for y in range(first_y, last_y + 1):
        py = (top + y) + 0.5
        r0, r1, r2 = b0 * py + c0, b1 * py + c1, b2 * py + c2
        row = slice(y * TILE + start, y * TILE + start + columns)
        if layers == 1:
            fill_row(
                a0, r0, bound0, a[3], a1, r1, bound1, b[3], a2, r2, bound2, c[3], near, left + start + 0.5,
                np.float64(face), first_depth[row], first_face[row],
            )  # fmt: skip
        else:
            fill_row_layers(
                a0, r0, bound0, a[3], a1, r1, bound1, b[3], a2, r2, bound2, c[3], near, left + start,
                np.float64(face), near_depth[row], near_face[row],
            )  # fmt: skip


@njit(nogil=True, cache=True)
def find_farthest(near_depth, block_depth):
    """The largest depth in each block of a tile."""
    block_depth[:] = 0
    for y in range(TILE):
        for x in range(TILE):
            block_depth[y // BLOCK, x // BLOCK] = max(block_depth[y // BLOCK, x // BLOCK], near_depth[y * TILE + x, 0])


@njit(nogil=True, cache=True, forceinline=True)
def is_behind(depth, block_depth, first_x, first_y, last_x, last_y):
    """Whether something nearer than depth is seen in all of these pixels of a tile."""
    for y in range(first_y // BLOCK, last_y // BLOCK + 1):
        for x in range(first_x // BLOCK, last_x // BLOCK + 1):
            if not depth > block_depth[y, x]:
                return False
    return True


@njit(nogil=True, cache=True, forceinline=True)
def write_row(near_face, near_depth, out_face, out_depth):
    """A row of a tile to its place in the image."""
    for i in range(len(near_face)):
        out_depth[i] = near_depth[i] if near_face[i] >= 0 else 0.0
        out_face[i] = np.int64(near_face[i])


@njit(nogil=True, cache=True, error_model="numpy")
def fill_tiles(
    start, end, verts, faces, near, facing, centers, tile_offset, tile_faces, tiles_x, tiles_y, out_face, out_depth
):  # fmt: skip
    """Z-buffer of the tiles start..end-1 (item = view tiles + tile), K layers sorted by depth."""
    height, width, layers = out_face.shape[1], out_face.shape[2], out_face.shape[3]
    n_tiles = tiles_x * tiles_y
    near_depth = np.empty((TILE * TILE, layers), np.float64)
    near_face = np.empty((TILE * TILE, layers), np.float64)
    block_depth = np.full((TILE // BLOCK, TILE // BLOCK), np.inf)
    for item in range(start, end):
        view = item // n_tiles
        left = (item % n_tiles) % tiles_x * TILE
        top = (item % n_tiles) // tiles_x * TILE
        bottom, right = min(top + TILE, height), min(left + TILE, width)
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
                first_x = max(np.int64(centers[view, face, 0]) - left, 0)
                first_y = max(np.int64(centers[view, face, 1]) - top, 0)
                last_x = min(np.int64(centers[view, face, 2]), right - 1) - left
                last_y = min(np.int64(centers[view, face, 3]), bottom - 1) - top
                if last_x < first_x or last_y < first_y:
                    continue
                a = load_vertex(verts, view, faces[face, 0])
                b = load_vertex(verts, view, faces[face, 1])
                c = load_vertex(verts, view, faces[face, 2])
                if can_skip and is_behind(min(a[3], b[3], c[3]), block_depth, first_x, first_y, last_x, last_y):
                    continue
                draw_face(face, a, b, c, near, left, top, first_x, first_y, last_x, last_y, near_depth, near_face)
        for y in range(bottom - top):
            source = slice(y * TILE * layers, (y * TILE + right - left) * layers)
            first = ((view * height + top + y) * width + left) * layers
            target = slice(first, first + (right - left) * layers)
            write_row(
                near_face.reshape(-1)[source], near_depth.reshape(-1)[source],
                out_face.reshape(-1)[target], out_depth.reshape(-1)[target],
            )  # fmt: skip


def bin_faces(verts: np.ndarray, faces: np.ndarray, near: float, height: int, width: int) -> FaceBins:
    """Facing, pixel bounds and exact tile lists: count, prefix sum, fill."""
    n_views, n_faces = len(verts), len(faces)
    tiles_x, tiles_y = -(-width // TILE), -(-height // TILE)
    facing = torch.empty((n_views, n_faces), dtype=torch.int8)
    bounds, centers = (torch.empty((n_views, n_faces, 4), dtype=torch.int16) for _ in range(2))
    outputs = (facing.numpy(), bounds.numpy(), centers.numpy())
    parallel_for(bound_faces, n_views * n_faces, 16384, verts, faces, near, height, width, *outputs)
    n_pieces = BINNING_PIECES if n_faces > 16384 else 1
    cursor = np.zeros((n_views, tiles_x * tiles_y, n_pieces), np.int64)
    nothing = np.empty(0, np.int32)
    arguments = (bounds.numpy(), n_pieces, tiles_x, tiles_y, cursor)
    parallel_for(file_faces, n_views * n_pieces, 1, *arguments, nothing, False)
    total = np.cumsum(cursor.reshape(-1))
    tile_faces = torch.empty(int(total[-1]) if len(total) else 0, dtype=torch.int32)
    tile_offset = np.concatenate([np.zeros(1, np.int64), total[n_pieces - 1 :: n_pieces]])
    cursor[:] = (total - cursor.reshape(-1)).reshape(cursor.shape)
    parallel_for(file_faces, n_views * n_pieces, 1, *arguments, tile_faces.numpy(), True)
    return FaceBins(facing, bounds, centers, torch.from_numpy(tile_offset), tile_faces)


def forward(
    verts_hom: Tensor, faces: Tensor, height: int, width: int, near: float, layers: int
) -> tuple[Tensor, Tensor, FaceBins]:
    """See op.rasterize."""
    verts, faces_array = verts_hom.contiguous().numpy(), faces.contiguous().numpy()
    bins = bin_faces(verts, faces_array, near, height, width)
    face_id = torch.empty((len(verts), height, width, layers), dtype=torch.int64)
    depth = torch.empty((len(verts), height, width, layers), dtype=verts_hom.dtype)
    tiles_x, tiles_y = -(-width // TILE), -(-height // TILE)
    parallel_for(
        fill_tiles,
        len(verts) * tiles_x * tiles_y,
        max(1, tiles_x // 2),
        verts,
        faces_array,
        near,
        bins.facing.numpy(),
        bins.centers.numpy(),
        bins.tile_offset.numpy(),
        bins.tile_faces.numpy(),
        tiles_x,
        tiles_y,
        face_id.numpy(),
        depth.numpy(),
    )
    return face_id, depth, bins
