"""Shadows and their gradient on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.ops.antialias import VisibleSegments
from diffrender.ops.antialias.numba_cpu import segment_gradient, swept_areas
from diffrender.ops.as_numpy import as_numpy
from diffrender.ops.sample_shadow_map.op import Occluders
from diffrender.ops.scatter import sum_into
from diffrender.ops.tangents import count_tangents
from diffrender.threads import parallel_for

# A point farther than this from the map's corner, in texels, sees nothing of it; its texel would not fit an integer.
FARTHEST = 1e9
# Minimum number of points per thread.
GRAIN = 4096
# Most points see all of the light: the result says which.
NEEDS_RESULT = True
# map_id, xy_px, depth, slope and bias.
Points = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


@njit(nogil=True, cache=True)
def evaluate(start, end, map_depth, map_id, xy, depth, slope, bias, radius, visible):
    """Write what the points start..end-1 see of the light."""
    height, width = map_depth.shape[1], map_depth.shape[2]
    for m in range(start, end):
        x, y = np.float64(xy[m, 0]), np.float64(xy[m, 1])
        if not (abs(x) < FARTHEST and abs(y) < FARTHEST):
            visible[m] = 1.0
            continue
        column, row = int(np.floor(x - radius - 0.5)) + 1, int(np.floor(y - radius - 0.5)) + 1
        limit = np.float64(depth[m]) - np.float64(bias[m])
        dark = 0.0
        for i in range(max(row, 0), min(row + 2 * radius, height)):
            dy = i + 0.5 - y
            across = 1.0 - abs(dy) / radius
            for j in range(max(column, 0), min(column + 2 * radius, width)):
                dx = j + 0.5 - x
                if map_depth[map_id[m], i, j] < limit + slope[m, 0] * dx + slope[m, 1] * dy:
                    dark += across * max(0.0, 1.0 - abs(dx) / radius)
        visible[m] = 1.0 - dark / (radius * radius)


@njit(nogil=True, cache=True)
def xy_gradient(start, end, grad, map_depth, map_id, xy, depth, slope, bias, radius, visible, out):
    """Write the gradient with respect to the positions of the points start..end-1: the derivative of the tent."""
    height, width = map_depth.shape[1], map_depth.shape[2]
    for m in range(start, end):
        out[m, 0], out[m, 1] = 0, 0
        if grad[m] == 0 or visible[m] >= 1:
            continue
        x, y = np.float64(xy[m, 0]), np.float64(xy[m, 1])
        column, row = int(np.floor(x - radius - 0.5)) + 1, int(np.floor(y - radius - 0.5)) + 1
        limit = np.float64(depth[m]) - np.float64(bias[m])
        gx, gy = 0.0, 0.0
        for i in range(max(row, 0), min(row + 2 * radius, height)):
            dy = i + 0.5 - y
            for j in range(max(column, 0), min(column + 2 * radius, width)):
                dx = j + 0.5 - x
                if map_depth[map_id[m], i, j] < limit + slope[m, 0] * dx + slope[m, 1] * dy:
                    gx += np.sign(dx) * (1.0 - abs(dy) / radius)
                    gy += np.sign(dy) * (1.0 - abs(dx) / radius)
        scale = -grad[m] / (radius * radius * radius)
        out[m, 0], out[m, 1] = scale * gx, scale * gy


@njit(nogil=True, cache=True)
def sweep_points(
    start, end, total, grad, size, map_id, xy, depth, slope, bias, radius, first, middle, front, outside, areas, out
):  # fmt: skip
    """Add to total [P] what a square texel swept by each segment is worth to the points start..end-1; or, where there
    are areas [K, P] that they sweep, add to out [K, M] what these are worth to each point. The others are empty.
    """
    height, width = size[0], size[1]
    for m in range(start, end):
        x, y = np.float64(xy[m, 0]), np.float64(xy[m, 1])
        if (len(areas) == 0 and grad[m] == 0) or not (abs(x) < FARTHEST and abs(y) < FARTHEST):
            continue
        limit = np.float64(depth[m]) - np.float64(bias[m])
        column, row = int(np.floor(x - radius)), int(np.floor(y - radius))
        left, right = max(column, 0), min(column + 2 * radius + 1, width)
        if left >= right:
            continue
        for i in range(max(row, 0), min(row + 2 * radius + 1, height)):
            # Segments are sorted by texel: those of a row of texels are one run.
            start_of_row = (map_id[m] * height + i) * width
            for p in range(first[start_of_row + left], first[start_of_row + right]):
                dx, dy = middle[p, 0] - x, middle[p, 1] - y
                tent = max(0.0, 1.0 - abs(dx) / radius) * max(0.0, 1.0 - abs(dy) / radius)
                plane = limit + slope[m, 0] * dx + slope[m, 1] * dy
                darker = (1.0 if front[p] < plane else 0.0) - (1.0 if outside[p] < plane else 0.0)
                if len(areas) == 0:
                    total[p] -= grad[m] * tent * darker / (radius * radius)
                for k in range(len(areas)):
                    out[k, m] -= areas[k, p] * tent * darker / (radius * radius)


def forward(
    map_depth: Tensor,
    map_id: Tensor,
    xy_px: Tensor,
    depth: Tensor,
    slope: Tensor,
    bias: Tensor,
    radius: int,
    occluders: Occluders,
    verts_hom: Tensor,
    faces: Tensor,
) -> Tensor:
    """See op.sample_shadow_map; occluders have derivatives and no value."""
    visible = memory.empty(depth.shape, depth.dtype)
    points = as_numpy(map_depth, map_id, xy_px, depth, slope, bias)
    parallel_for(evaluate, len(depth), GRAIN, *points, radius, visible.numpy())
    return visible


def backward(
    grad: Tensor,
    map_depth: Tensor,
    map_id: Tensor,
    xy_px: Tensor,
    depth: Tensor,
    slope: Tensor,
    bias: Tensor,
    radius: int,
    occluders: Occluders,
    verts_hom: Tensor,
    faces: Tensor,
    visible: Tensor,
    wants: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """See run_differentiable."""
    wants_xy, wants_verts = wants[2], wants[8]
    points = (map_id, xy_px, depth, slope, bias)
    grad_xy = grad_verts = None
    if wants_xy:
        grad_xy = _xy_gradient(grad, map_depth, points, radius, visible)
    if wants_verts:
        # What each segment's motion is worth goes to the ends of its edge.
        n_maps, height, width = map_depth.shape
        nothing = np.empty((0, 0), as_numpy(grad)[0].dtype)
        worth = sum_into(
            (len(occluders.pixel),), grad.dtype, len(depth), sweep_points, *as_numpy(grad),
            *_near_segments(map_depth, points, radius, occluders, verts_hom, faces), nothing, nothing,
        )  # fmt: skip
        every = grad.new_ones((n_maps, height, width, 1))
        grad_verts = segment_gradient(every, worth[:, None], verts_hom, faces, _segments(occluders))
    return None, None, grad_xy, *[None] * 5, grad_verts, None


def jvp(
    tangents: Sequence[Tensor | None],
    map_depth: Tensor,
    map_id: Tensor,
    xy_px: Tensor,
    depth: Tensor,
    slope: Tensor,
    bias: Tensor,
    radius: int,
    occluders: Occluders,
    verts_hom: Tensor,
    faces: Tensor,
    visible: Tensor,
) -> Tensor:
    """See run_differentiable."""
    of_xy, of_verts = tangents[2], tangents[8]
    points = (map_id, xy_px, depth, slope, bias)
    out = memory.zeros((count_tangents(tangents), len(depth)), depth.dtype)
    if of_xy is not None:
        out += (of_xy * _xy_gradient(torch.ones_like(depth), map_depth, points, radius, visible)).sum(2)
    if of_verts is not None:
        n_texels = map_depth.shape[1] * map_depth.shape[2]
        areas = as_numpy(swept_areas(of_verts, verts_hom, faces, _segments(occluders), n_texels))
        nothing = np.empty(0, out.numpy().dtype)
        near = _near_segments(map_depth, points, radius, occluders, verts_hom, faces)
        parallel_for(sweep_points, len(depth), GRAIN, nothing, nothing, *near, *areas, out.numpy())
    return out


def _xy_gradient(grad: Tensor, map_depth: Tensor, points: Points, radius: int, visible: Tensor) -> Tensor:
    """Return the gradient with respect to xy_px [M, 2]."""
    out = memory.empty(points[1].shape, points[1].dtype)
    arguments = (*as_numpy(grad, map_depth, *points), radius, *as_numpy(visible), out.numpy())
    parallel_for(xy_gradient, len(out), GRAIN, *arguments)
    return out


def _segments(occluders: Occluders) -> VisibleSegments:
    none = torch.zeros_like(occluders.front)
    return VisibleSegments(occluders.pixel, occluders.face, occluders.bary, occluders.normal_px, none)


def _near_segments(
    map_depth: Tensor, points: Points, radius: int, occluders: Occluders, verts_hom: Tensor, faces: Tensor
) -> tuple[object, ...]:
    """Return what sweep_points takes of the map, the points and the segments, which are sorted by texel."""
    n_maps, height, width = map_depth.shape
    middle = middles(occluders, verts_hom, faces, height * width)
    pixel, middle, front, outside = as_numpy(occluders.pixel, middle, occluders.front, occluders.outside)
    first = np.searchsorted(pixel, np.arange(n_maps * height * width + 1))
    return np.array([height, width]), *as_numpy(*points), radius, first, middle, front, outside


def middles(occluders: Occluders, verts_hom: Tensor, faces: Tensor, n_texels: int) -> Tensor:
    """Return where [P, 2] the middles of the segments are in their maps."""
    corners = verts_hom[(occluders.pixel // n_texels)[:, None], faces[occluders.face]].double()
    middle = (corners * occluders.bary[:, :, None]).sum(1)
    return middle[:, :2] / middle[:, 2:3]
