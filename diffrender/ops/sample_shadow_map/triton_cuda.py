"""Shadows and their gradient on CUDA. What segments are worth is summed by atomic additions, in any order.

Tents are RADIUS times as high until they are summed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffrender.ops.antialias import VisibleSegments
from diffrender.ops.antialias.op import LEAST_W
from diffrender.ops.antialias.triton_cuda import find_middle, segment_gradient, swept_areas
from diffrender.ops.barycentrics.triton_cuda import find_corners
from diffrender.ops.sample_shadow_map.op import Occluders
from diffrender.ops.tangents import count_tangents
from diffrender.ops.triton_launch import launch
from diffrender.ops.triton_vec3 import load_triple

BLOCK = 512
WARPS = 8
# Most points see all of the light: the result says which.
NEEDS_RESULT = True
# map_id, xy_px, depth, slope and bias.
Points = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


@triton.jit
def load_place(xy, m, height, width, here, RADIUS: tl.constexpr):
    """Return (x, y) of points; those that see nothing of the map, or are not numbers, are moved just before it."""
    x, y = tl.load(xy + 2 * m, here, other=0), tl.load(xy + 2 * m + 1, here, other=0)
    is_near = (x > -RADIUS) & (x < width + RADIUS) & (y > -RADIUS) & (y < height + RADIUS)
    return tl.where(is_near, x, -2.0 * RADIUS), tl.where(is_near, y, -2.0 * RADIUS)


@triton.jit
def load_surface(depth, slope, bias, m, here):
    """Return what a texel's depth is compared with: depth and slope of the points' surfaces, and their bias."""
    return (
        tl.load(depth + m, here, other=0),
        tl.load(slope + 2 * m, here, other=0),
        tl.load(slope + 2 * m + 1, here, other=0),
        tl.load(bias + m, here, other=0),
    )


@triton.jit
def open_row(map_depth, first, number, y, surface, height, width, here):
    """Return where a row of texels begins, which points have it in their map, dy, and depth there of their surfaces."""
    dy = number + 0.5 - y
    row = map_depth + first + number.to(tl.int64) * width
    return row, here & (number >= 0) & (number < height), dy, surface[0] + surface[2] * dy


@triton.jit
def look(row, inside, number, x, level, surface, width):
    """Return dx of texels of a row, and whether they hide the light from their points."""
    dx = number + 0.5 - x
    inside = inside & (number >= 0) & (number < width)
    seen = tl.load(row + number.to(tl.int64), inside, other=0)
    return dx, inside & ~(seen + surface[3] >= level + surface[1] * dx)


@triton.jit(do_not_specialize=["n", "height", "width"])
def evaluate(
    map_depth, map_id, xy, depth, slope, bias, visible, n, height, width, RADIUS: tl.constexpr, BLOCK: tl.constexpr
):
    """Write what the points see of the light, one a lane."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n
    x, y = load_place(xy, m, height, width, here, RADIUS)
    surface = load_surface(depth, slope, bias, m, here)
    first = tl.load(map_id + m, here, other=0) * height * width
    top, left = tl.floor(y - RADIUS - 0.5) + 1, tl.floor(x - RADIUS - 0.5) + 1
    dark = tl.zeros_like(x)
    for i in range(2 * RADIUS):
        row, inside, dy, level = open_row(map_depth, first, top + i, y, surface, height, width, here)
        across = tl.zeros_like(x)
        for j in range(2 * RADIUS):
            dx, hides = look(row, inside, left + j, x, level, surface, width)
            across += tl.where(hides, tl.maximum(RADIUS - tl.abs(dx), 0.0), 0.0)
        dark += across * tl.maximum(RADIUS - tl.abs(dy), 0.0)
    tl.store(visible + m, 1 - dark / (RADIUS * RADIUS * RADIUS * RADIUS), here)


@triton.jit(do_not_specialize=["n", "height", "width"])
def xy_gradient(
    map_depth, map_id, xy, depth, slope, bias, visible, grad, out, n, height, width,
    RADIUS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the gradient with respect to the positions of the points, one a lane: the derivative of the tent."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n
    g = tl.load(grad + m, here, other=0)
    shaded = here & (g != 0) & (tl.load(visible + m, here, other=1) < 1)
    gx, gy = tl.zeros_like(g), tl.zeros_like(g)
    if tl.max(shaded.to(tl.int32)) > 0:
        x, y = load_place(xy, m, height, width, here, RADIUS)
        surface = load_surface(depth, slope, bias, m, shaded)
        first = tl.load(map_id + m, shaded, other=0) * height * width
        top, left = tl.floor(y - RADIUS - 0.5) + 1, tl.floor(x - RADIUS - 0.5) + 1
        for i in range(2 * RADIUS):
            row, inside, dy, level = open_row(map_depth, first, top + i, y, surface, height, width, shaded)
            by_x, by_y = tl.zeros_like(g), tl.zeros_like(g)
            for j in range(2 * RADIUS):
                dx, hides = look(row, inside, left + j, x, level, surface, width)
                by_x += tl.where(hides, (dx > 0).to(g.dtype) - (dx < 0).to(g.dtype), 0.0)
                by_y += tl.where(hides, tl.maximum(RADIUS - tl.abs(dx), 0.0), 0.0)
            gx += by_x * tl.maximum(RADIUS - tl.abs(dy), 0.0)
            gy += by_y * ((dy > 0).to(g.dtype) - (dy < 0).to(g.dtype))
    scale = -g / (RADIUS * RADIUS * RADIUS * RADIUS)
    tl.store(out + 2 * m, tl.where(shaded, scale * gx, 0.0), here)
    tl.store(out + 2 * m + 1, tl.where(shaded, scale * gy, 0.0), here)


@triton.jit(do_not_specialize=["n_texels", "n", "n_verts"])
def locate_segments(
    verts, faces, pixel, face_id, bary, out, n_texels, n, n_verts, LEAST_W: tl.constexpr, BLOCK: tl.constexpr
):
    """Write where [P, 2] the middles of segments are in their maps."""
    p = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = p < n
    face, view = tl.load(face_id + p, here, other=0), tl.load(pixel + p, here, other=0) // n_texels
    at = find_corners(faces, face, view, n_verts, here)
    x, y, w, is_sound = find_middle(verts, at, load_triple(bary, p, here), here, LEAST_W)
    w = tl.where(is_sound, w, 1.0)
    tl.store(out + 2 * p, x / w, here)
    tl.store(out + 2 * p + 1, y / w, here)


@triton.jit(do_not_specialize=["n", "height", "width", "n_segments", "n_tangents"])
def sweep_points(
    map_id, xy, depth, slope, bias, given, first_in, middle, front, outside, total, n, height, width, n_segments,
    n_tangents, AREAS: tl.constexpr, RADIUS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add to total [P] what a square texel swept by each segment is worth to the points whose gradients are `given`.

    AREAS: given are the areas [K, P] that the segments sweep; add to total [K, M] what these are worth to each point.
    One row of the window of a point a lane.
    first_in: [L H W + 1] the first segment in each texel. They are sorted: those of a row of texels are one run.
    """
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    m = lane // (2 * RADIUS + 1)
    here = m < n
    g = tl.full([BLOCK], 1, xy.dtype.element_ty) if AREAS else tl.load(given + m, here, other=0)
    x, y = load_place(xy, m, height, width, here, RADIUS)
    row = tl.floor(y - RADIUS).to(tl.int64) + lane % (2 * RADIUS + 1)
    column = tl.floor(x - RADIUS).to(tl.int32)
    left, right = tl.maximum(column, 0), tl.minimum(column + 2 * RADIUS + 1, width)
    here = here & (g != 0) & (left < right) & (row >= 0) & (row < height)
    start = (tl.load(map_id + m, here, other=0) * height + row) * width
    p, end = tl.load(first_in + start + left, here, other=0), tl.load(first_in + start + right, here, other=0)
    depth, slope_x, slope_y, bias = load_surface(depth, slope, bias, m, p < end)
    while tl.max((p < end).to(tl.int32)) > 0:
        here = p < end
        dx, dy = tl.load(middle + 2 * p, here, other=0) - x, tl.load(middle + 2 * p + 1, here, other=0) - y
        share = tl.maximum(RADIUS - tl.abs(dx), 0.0) * tl.maximum(RADIUS - tl.abs(dy), 0.0)
        plane = depth + (slope_x * dx + slope_y * dy) - bias
        front_hides = tl.load(front + p, here, other=0) < plane
        outside_hides = tl.load(outside + p, here, other=0) < plane
        value = tl.where(front_hides, -g, g) * share / (RADIUS * RADIUS * RADIUS * RADIUS)
        counts = here & (front_hides != outside_hides) & (share > 0)
        if AREAS:
            area, at = given + p, total + m
            more = tl.where(tl.max(counts.to(tl.int32)) > 0, n_tangents, 0)
            while more > 0:
                tl.atomic_add(at, value * tl.load(area, counts, other=0), counts, sem="relaxed")
                area += n_segments
                at += n
                more -= 1
        else:
            tl.atomic_add(total + p, value, counts, sem="relaxed")
        p += 1


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
    visible, n = torch.empty(depth.shape, dtype=depth.dtype, device=depth.device), len(depth)
    inputs = [part.contiguous() for part in (map_depth, map_id, xy_px, depth, slope, bias)]
    constants = {"RADIUS": radius, "BLOCK": BLOCK, "num_warps": WARPS}
    launch(evaluate, triton.cdiv(n, BLOCK), *inputs, visible, n, *map_depth.shape[1:], **constants)
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
        worth = torch.zeros(len(occluders.pixel), dtype=grad.dtype, device=grad.device)
        _sweep(grad, worth, map_depth, points, radius, occluders, verts_hom, faces)
        # Each texel counts alike: the number 1, of which the next is 0 numbers apart.
        everywhere, size = worth.new_ones(1), tuple(map_depth.shape)
        grad_verts = segment_gradient(everywhere, 0, worth[:, None], verts_hom, faces, _segments(occluders), size)
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
    out = depth.new_zeros(count_tangents(tangents), len(depth))
    if of_xy is not None:
        out += (of_xy * _xy_gradient(torch.ones_like(depth), map_depth, points, radius, visible)).sum(2)
    if of_verts is not None:
        n_texels = map_depth.shape[1] * map_depth.shape[2]
        areas = swept_areas(of_verts, verts_hom, faces, _segments(occluders), n_texels)
        _sweep(areas, out, map_depth, points, radius, occluders, verts_hom, faces)
    return out


def _xy_gradient(grad: Tensor, map_depth: Tensor, points: Points, radius: int, visible: Tensor) -> Tensor:
    """Return the gradient with respect to xy_px [M, 2]."""
    out, n = torch.empty(points[1].shape, dtype=points[1].dtype, device=grad.device), len(grad)
    inputs = [part.contiguous() for part in (map_depth, *points, visible, grad)]
    constants = {"RADIUS": radius, "BLOCK": BLOCK, "num_warps": WARPS}
    launch(xy_gradient, triton.cdiv(n, BLOCK), *inputs, out, n, *map_depth.shape[1:], **constants)
    return out


def _segments(occluders: Occluders) -> VisibleSegments:
    none = torch.zeros_like(occluders.front)
    return VisibleSegments(occluders.pixel, occluders.face, occluders.bary, occluders.normal_px, none)


def _sweep(
    given: Tensor, total: Tensor, map_depth: Tensor, points: Points, radius: int, occluders: Occluders,
    verts_hom: Tensor, faces: Tensor,
) -> None:  # fmt: skip
    """Add to `total` as sweep_points does: given are gradients [M], or the areas [K, P] of K tangents."""
    seen = Occluders(*(part.contiguous() for part in occluders))
    n, n_segments = len(points[0]), len(seen.pixel)
    first_in = torch.searchsorted(seen.pixel, torch.arange(map_depth.numel() + 1, device=total.device))
    launch(
        sweep_points, triton.cdiv(n * (2 * radius + 1), BLOCK), *(part.contiguous() for part in (*points, given)),
        first_in, middles(seen, verts_hom, faces, map_depth.shape), seen.front, seen.outside, total,
        n, *map_depth.shape[1:], n_segments, len(given), AREAS=given.dim() == 2, RADIUS=radius, BLOCK=BLOCK,
        num_warps=WARPS,
    )  # fmt: skip


def middles(occluders: Occluders, verts_hom: Tensor, faces: Tensor, size: Sequence[int]) -> Tensor:
    """Return where [P, 2] the middles of the segments are in their maps."""
    n = len(occluders.pixel)
    out = torch.empty((n, 2), dtype=verts_hom.dtype, device=verts_hom.device)
    scene = (verts_hom.contiguous(), faces.contiguous(), *occluders[:3])
    launch(
        locate_segments, triton.cdiv(n, BLOCK), *scene, out, size[1] * size[2], n, verts_hom.shape[1],
        LEAST_W=LEAST_W, BLOCK=BLOCK, num_warps=WARPS,
    )  # fmt: skip
    return out
