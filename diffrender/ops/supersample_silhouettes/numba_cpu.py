"""Samples in silhouette pixels, and the visible segments, on the CPU. Arithmetic in float64, as in rasterize."""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.geometry.topology import Topology
from diffrender.ops.antialias import VisibleSegments
from diffrender.ops.as_numpy import as_numpy
from diffrender.ops.gather_samples import Samples
from diffrender.ops.gather_samples.numba_cpu import forward as gather_samples
from diffrender.ops.numba_raster import TILE, box_in_tile, corner_of_tile, inward_edges, load_corners, misses_box
from diffrender.ops.query_visibility.numba_cpu import draw_points, file_points, sort_points
from diffrender.ops.rasterize import FaceBins, Raster
from diffrender.ops.silhouettes import SilhouetteSegments
from diffrender.ops.silhouettes.numba_cpu import forward as silhouettes
from diffrender.ops.supersample_silhouettes.cut_pixels_numba import weigh_samples
from diffrender.ops.supersample_silhouettes.op import (
    OUTSIDE_PX,
    TOUCHING_DEPTH,
    TOUCHING_PX,
    AntialiasPlan,
    OutsidePoints,
)
from diffrender.threads import parallel_for


@njit(nogil=True, cache=True)
def step_outside(start, end, xy, normal, out):
    """Write the points OUTSIDE_PX outside the segments start..end-1."""
    for p in range(start, end):
        nx, ny = np.float64(normal[p, 0]), np.float64(normal[p, 1])
        length = max(math.sqrt(nx * nx + ny * ny), 1e-12)
        out[p, 0] = xy[p, 0] + OUTSIDE_PX * (nx / length)
        out[p, 1] = xy[p, 1] + OUTSIDE_PX * (ny / length)


@njit(nogil=True, cache=True)
def pixels_of_tile(pixels, first_of_row, row, n_rows, width, left, right, first, column, index):
    """List the refined pixels of a tile, those of row y in column, index[first[y] : first[y + 1]]; return how many."""
    found = 0
    for y in range(n_rows):
        first[y] = found
        begin, end = first_of_row[row + y], first_of_row[row + y + 1]
        if begin == end:
            continue
        base = (row + y) * width
        k = begin + np.searchsorted(pixels[begin:end], base + left)
        while k < end and pixels[k] < base + right:
            column[found], index[found] = pixels[k] - base - left, k
            found += 1
            k += 1
    first[n_rows:] = found
    return found


@njit(nogil=True, cache=True)
def mark_columns(first, column, point_first, marks):
    """Mark where a tile has refined pixels or points: bit x of marks[y]."""
    for y in range(TILE):
        bits = 0
        for k in range(first[y], first[y + 1]):
            bits |= 1 << column[k]
        for x in range(TILE):
            if point_first[y * TILE + x + 1] > point_first[y * TILE + x]:
                bits |= 1 << x
        marks[y] = bits


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def draw_samples(edges, near, face, low_x, low_y, offset_x, offset_y, near_depth, near_face):
    """Draw one face in the samples of the pixel whose corner is at (low_x, low_y)."""
    e, f, g = edges
    if (
        misses_box(e, low_x, low_y, low_x + 1, low_y + 1)
        or misses_box(f, low_x, low_y, low_x + 1, low_y + 1)
        or misses_box(g, low_x, low_y, low_x + 1, low_y + 1)
    ):
        return
    for s in range(len(near_depth)):
        px, py = low_x + offset_x[s], low_y + offset_y[s]
        e0, e1, e2 = e.a * px + (e.b * py + e.c), f.a * px + (f.b * py + f.c), g.a * px + (g.b * py + g.c)
        depth = (e0 * e.depth + e1 * f.depth + e2 * g.depth) / (e0 + e1 + e2)
        old_depth, old_face = near_depth[s], near_face[s]
        nearer = (e0 > e.bound) & (e1 > f.bound) & (e2 > g.bound) & (depth >= near) & (depth < old_depth)
        near_depth[s] = depth if nearer else old_depth
        near_face[s] = face if nearer else old_face


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def draw_face(
    face, corners, near, left, top, box, first, column, offset_x, offset_y,
    near_depth, near_face, point_first, px, py, point_depth, point_face,
):  # fmt: skip
    """Draw one face in the samples and points of a tile that are in the pixels `box`."""
    a, b, c = corners
    edges = inward_edges(a, b, c)
    for y in range(box.first_y, box.last_y + 1):
        for k in range(first[y], first[y + 1]):
            if box.first_x <= column[k] <= box.last_x:
                draw_samples(
                    edges, near, np.float64(face), np.float64(left + column[k]), np.float64(top + y),
                    offset_x, offset_y, near_depth[k], near_face[k],
                )  # fmt: skip
        begin, end = point_first[y * TILE + box.first_x], point_first[y * TILE + box.last_x + 1]
        draw_points(edges, near, face, begin, end, px, py, point_depth, point_face)


@njit(nogil=True, cache=True, error_model="numpy")
def fill_tiles(
    start, end, verts, faces, near, bounds, tile_offset, tile_faces, tiles_x, tiles_y, height, width,
    pixels, first_of_row, offset_x, offset_y, sample_face_id, xy, point_offset, order, outside_face, outside_depth,
):  # fmt: skip
    """Z-buffer the samples in refined pixels and the points at `xy`, in the tiles start..end-1."""
    n_samples = len(offset_x)
    first, point_first = np.empty(TILE + 1, np.int64), np.empty(TILE * TILE + 2, np.int64)
    column, index = np.empty(TILE * TILE, np.int64), np.empty(TILE * TILE, np.int64)
    marks = np.empty(TILE, np.int64)
    near_depth, near_face = np.empty((TILE * TILE, n_samples)), np.empty((TILE * TILE, n_samples))
    for item in range(start, end):
        # The refined pixels of the tile, and its points sorted by pixel.
        view, left, top = corner_of_tile(item, tiles_x, tiles_y)
        n_rows, right = min(top + TILE, height) - top, min(left + TILE, width)
        row = view * height + top
        found = pixels_of_tile(pixels, first_of_row, row, n_rows, width, left, right, first, column, index)
        begin, n_points = point_offset[item], point_offset[item + 1] - point_offset[item]
        if found == 0 and n_points == 0:
            continue
        local, px, py = np.empty(n_points, np.int64), np.empty(n_points), np.empty(n_points)
        point_depth, point_face = np.full(n_points, np.inf), np.full(n_points, -1)
        sort_points(begin, begin + n_points, order, xy, left, top, height, width, point_first, local, px, py)
        mark_columns(first, column, point_first, marks)
        near_depth[:found] = np.inf
        near_face[:found] = -1

        # The faces whose bounds hold any of them; ascending, so that ties go to the lower one.
        for entry in range(tile_offset[item], tile_offset[item + 1]):
            face = np.int64(tile_faces[entry])
            box = box_in_tile(bounds, view, face, left, top)
            marked = 0
            for y in range(box.first_y, box.last_y + 1):
                marked |= marks[y]
            if marked & ((2 << box.last_x) - (1 << box.first_x)) == 0:
                continue
            draw_face(
                face, load_corners(verts, faces, view, face), near, left, top, box, first, column, offset_x, offset_y,
                near_depth, near_face, point_first, px, py, point_depth, point_face,
            )  # fmt: skip

        for k in range(found):
            for s in range(n_samples):
                sample_face_id[index[k], s] = np.int64(near_face[k, s])
        for k in range(n_points):
            outside_face[local[k]], outside_depth[local[k]] = point_face[k], point_depth[k]


def query_tiles(
    verts: np.ndarray, faces: np.ndarray, bins: FaceBins, size: tuple[int, int], near: float,
    pixels: np.ndarray, offsets: np.ndarray, view: np.ndarray, xy: np.ndarray,
) -> tuple[Tensor, np.ndarray, np.ndarray]:  # fmt: skip
    """Return the faces [R, S] that samples in pixels see, and the faces and depths at the points xy [Q, 2]."""
    height, width = size
    tiles_x, tiles_y = -(-width // TILE), -(-height // TILE)
    first_of_row = np.searchsorted(pixels, np.arange(len(verts) * height + 1) * width)
    point_offset = np.empty(len(verts) * tiles_x * tiles_y + 2, np.int64)
    order, outside_face = (memory.empty((len(xy),), torch.int64).numpy() for _ in range(2))
    file_points(view, xy, height, width, tiles_x, tiles_y, point_offset, order)
    sample_face_id = memory.empty((len(pixels), len(offsets)), torch.int64)
    outside_depth = memory.empty((len(xy),), torch.float64).numpy()
    parallel_for(
        fill_tiles,
        len(verts) * tiles_x * tiles_y,
        max(1, tiles_x // 2),
        verts,
        faces,
        near,
        *as_numpy(bins.bounds, bins.tile_offset, bins.tile_faces),
        tiles_x,
        tiles_y,
        height,
        width,
        pixels,
        first_of_row,
        offsets[:, 0].astype(np.float64),
        offsets[:, 1].astype(np.float64),
        sample_face_id.numpy(),
        xy,
        point_offset,
        order,
        outside_face,
        outside_depth,
    )
    return sample_face_id, outside_face, outside_depth


@njit(nogil=True, cache=True, error_model="numpy")
def find_touching(start, end, verts, faces, n_pixels, pixel, xy, depth, outside_face, outside_depth, touches):
    """Mark the segments start..end-1 through which the plane of the face outside passes."""
    for p in range(start, end):
        touches[p] = False
        if outside_face[p] < 0:
            continue
        a, b, c = load_corners(verts, faces, pixel[p] // n_pixels, outside_face[p])
        e, f, g = inward_edges(a, b, c)
        x, y = xy[p, 0], xy[p, 1]
        e0, e1, e2 = e.a * x + (e.b * y + e.c), f.a * x + (f.b * y + f.c), g.a * x + (g.b * y + g.c)
        at_segment = (e0 * e.depth + e1 * f.depth + e2 * g.depth) / (e0 + e1 + e2)
        tolerance = TOUCHING_PX / OUTSIDE_PX * abs(outside_depth[p] - at_segment) + TOUCHING_DEPTH * abs(depth[p])
        touches[p] = abs(at_segment - depth[p]) <= tolerance


@njit(nogil=True, cache=True)
def keep_visible(
    n_pixels, pixel, face, bary, xy, normal, depth, edge, outside_face, outside_depth, touches, xy_outside,
    seen_pixel, seen_face, seen_bary, seen_normal, seen_depth_weight, segment, view, outside_face_id, outside_xy,
    seen_edge, seen_xy, seen_touches,
):  # fmt: skip
    """List the segments that nothing nearer covers, and what is outside them; return how many there are of each."""
    n_seen = n_inner = 0
    for p in range(len(pixel)):
        if outside_face[p] >= 0 and not outside_depth[p] >= depth[p] and not touches[p]:
            continue
        seen_edge[n_seen], seen_touches[n_seen] = edge[p], touches[p]
        seen_xy[n_seen, 0], seen_xy[n_seen, 1] = xy[p, 0], xy[p, 1]
        seen_pixel[n_seen], seen_face[n_seen], seen_depth_weight[n_seen] = pixel[p], face[p], 0
        for i in range(3):
            seen_bary[n_seen, i] = bary[p, i]
        for i in range(2):
            seen_normal[n_seen, i] = normal[p, i]
        if outside_face[p] >= 0:
            segment[n_inner], view[n_inner], outside_face_id[n_inner] = n_seen, pixel[p] // n_pixels, outside_face[p]
            outside_xy[n_inner, 0], outside_xy[n_inner, 1] = xy_outside[p, 0], xy_outside[p, 1]
            n_inner += 1
        n_seen += 1
    return n_seen, n_inner


def find_visible_segments(
    segments: SilhouetteSegments,
    touches: np.ndarray,
    xy: np.ndarray,
    outside_face: np.ndarray,
    outside_depth: np.ndarray,
    n_pixels: int,
) -> tuple[VisibleSegments, OutsidePoints, Tensor, Tensor, Tensor]:
    """Return the segments that are seen, what is just outside them, and their edge, xy_px and touches."""
    count, numbers, reals = len(xy), segments.pixel, segments.bary
    visible = VisibleSegments(
        memory.empty((count,), numbers.dtype),
        memory.empty((count,), numbers.dtype),
        memory.empty((count, 3), reals.dtype),
        memory.empty((count, 2), reals.dtype),
        memory.empty((count,), reals.dtype),
    )
    outside = OutsidePoints._make(
        [*(memory.empty((count,), numbers.dtype) for _ in range(3)), memory.empty((count, 2), reals.dtype)]
    )
    others = (
        memory.empty((count,), numbers.dtype),
        memory.empty((count, 2), segments.xy_px.dtype),
        memory.empty((count,), torch.bool),
    )
    arguments = (*as_numpy(*segments), outside_face, outside_depth, touches, xy, *as_numpy(*visible, *outside, *others))
    n_seen, n_inner = keep_visible(n_pixels, *arguments)
    seen, beyond = (part[:n_seen] for part in visible), (part[:n_inner] for part in outside)
    edge, seen_xy, seen_touches = (part[:n_seen] for part in others)
    return VisibleSegments._make(seen), OutsidePoints._make(beyond), edge, seen_xy, seen_touches


def forward(
    verts_hom: Tensor,
    topology: Topology,
    raster: Raster,
    offsets: Tensor,
    near: float,
    extra_pixels: Tensor | None,
    jumps: Tensor | None = None,
) -> AntialiasPlan:
    """See op.supersample_silhouettes."""
    center_face, center_depth, bins = raster.face_id[..., 0], raster.depth[..., 0], raster.bins
    height, width = center_face.shape[1:]
    segments = SilhouetteSegments(*silhouettes(verts_hom, topology, bins.facing, center_depth, near, jumps))
    segment_pixel, segment_xy, normal, edge = as_numpy(
        segments.pixel, segments.xy_px, segments.normal_px, segments.edge
    )
    verts, faces, offset_array = as_numpy(verts_hom, topology.faces, offsets)
    size = (len(center_face), height, width)
    pixels, share, slivers = weigh_samples(segment_pixel, edge, segment_xy, normal, extra_pixels, offset_array, size)
    # Points outside of segments and in slivers are looked up together.
    count, sliver_pixel, sliver_xy = len(segment_xy), *as_numpy(slivers.pixel, slivers.xy_px)
    points = np.concatenate([segment_xy, sliver_xy])
    xy = points[:count]
    parallel_for(step_outside, count, 4096, segment_xy, normal, xy)
    view = np.concatenate([segment_pixel, sliver_pixel]) // (height * width)
    sample_face_id, face, depth = query_tiles(
        verts, faces, bins, (height, width), near, pixels, offset_array, view, points
    )
    outside_face, outside_depth = face[:count], depth[:count]
    pixel = torch.from_numpy(pixels)
    added = slivers.samples(*map(torch.from_numpy, (view[count:], face[count:])))
    samples = Samples(*gather_samples(center_face, pixel, sample_face_id, offsets, share, added))
    touches = np.empty(count, np.bool_)
    at = (segment_pixel, segment_xy, segments.depth.numpy(), outside_face, outside_depth, touches)
    parallel_for(find_touching, count, 4096, verts, faces, height * width, *at)
    found = find_visible_segments(segments, touches, xy, outside_face, outside_depth, height * width)
    return AntialiasPlan(samples, *found, pixel, sample_face_id)
