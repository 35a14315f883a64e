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
from diffrender.ops.antialias.triton_cuda import find_middle, segment_gradient
from diffrender.ops.barycentrics.triton_cuda import find_corners
from diffrender.ops.sample_shadow_map.op import Occluders
from diffrender.ops.triton_launch import launch
from diffrender.ops.triton_vec3 import load_triple

BLOCK = 512
WARPS = 8
# Most points see all of the light: the result says which.
NEEDS_RESULT = True


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


@triton.jit(do_not_specialize=["n", "height", "width"])
def add_worth(
    map_id, xy, depth, slope, bias, grad, first_in, middle, front, outside, worth, n, height, width,
    RADIUS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add to worth [P] what a square texel swept by each segment is worth, one row of the window of a point a lane.

    first_in: [L H W + 1] the first segment in each texel. They are sorted: those of a row of texels are one run.
    """
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    m = lane // (2 * RADIUS + 1)
    g = tl.load(grad + m, m < n, other=0)
    x, y = load_place(xy, m, height, width, m < n, RADIUS)
    row = tl.floor(y - RADIUS).to(tl.int64) + lane % (2 * RADIUS + 1)
    column = tl.floor(x - RADIUS).to(tl.int32)
    left, right = tl.maximum(column, 0), tl.minimum(column + 2 * RADIUS + 1, width)
    here = (g != 0) & (left < right) & (row >= 0) & (row < height)
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
        tl.atomic_add(worth + p, value, here & (front_hides != outside_hides) & (share > 0), sem="relaxed")
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
    points = [part.contiguous() for part in (map_id, xy_px, depth, slope, bias)]
    grad, n, size = grad.contiguous(), len(depth), map_depth.shape
    constants = {"RADIUS": radius, "BLOCK": BLOCK, "num_warps": WARPS}
    grad_xy = grad_verts = None
    if wants_xy:
        grad_xy = torch.empty(xy_px.shape, dtype=xy_px.dtype, device=xy_px.device)
        launch(
            xy_gradient, triton.cdiv(n, BLOCK), map_depth.contiguous(), *points, visible, grad, grad_xy,
            n, *size[1:], **constants,
        )  # fmt: skip
    if wants_verts:
        # What each segment's motion is worth goes to the ends of its edge.
        seen = Occluders(*(part.contiguous() for part in occluders))
        worth = torch.zeros(len(seen.pixel), dtype=grad.dtype, device=grad.device)
        middle = middles(seen, verts_hom, faces, size)
        first_in = torch.searchsorted(seen.pixel, torch.arange(map_depth.numel() + 1, device=worth.device))
        launch(
            add_worth, triton.cdiv(n * (2 * radius + 1), BLOCK), *points, grad, first_in, middle, seen.front,
            seen.outside, worth, n, *size[1:], **constants,
        )  # fmt: skip
        segments = VisibleSegments(seen.pixel, seen.face, seen.bary, seen.normal_px, torch.zeros_like(seen.front))
        # Each texel counts alike: the number 1, of which the next is 0 numbers apart.
        grad_verts = segment_gradient(worth.new_ones(1), 0, worth[:, None], verts_hom, faces, segments, tuple(size))
    return None, None, grad_xy, *[None] * 5, grad_verts, None


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
