"""Barycentric coordinates and their gradient on CUDA. Arithmetic in float64, without fused multiply-adds: see NOTES.md.

The gradient is summed as in ../triton_scatter.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffrender.ops.tangents import count_tangents
from diffrender.ops.triton_launch import launch, tangents_or
from diffrender.ops.triton_scatter import add_runs, find_runs
from diffrender.ops.triton_vec3 import load_triple, store_triple

BLOCK = 256
# A product that is rounded and one that is not would not cancel where a face is seen exactly edge-on.
OPTIONS = {"BLOCK": BLOCK, "num_warps": BLOCK // 32, "enable_fp_fusion": False}


@triton.jit
def load_point(xy, m, here):
    """Return (x, y) of points in float64."""
    x, y = tl.load(xy + 2 * m, here, other=0), tl.load(xy + 2 * m + 1, here, other=0)
    return x.to(tl.float64), y.to(tl.float64)


@triton.jit
def load_relative_corner(verts, at, point, here):
    """Return the vertices (x, y, w) at verts[at], times w, counted from the points, in float64."""
    w = tl.load(verts + at + 2, here, other=0).to(tl.float64)
    x, y = tl.load(verts + at, here, other=0), tl.load(verts + at + 1, here, other=0)
    return x - point[0] * w, y - point[1] * w, w


@triton.jit
def load_relative_corners(verts, at, point, here):
    """Return the three corners of faces, as load_relative_corner."""
    return (
        load_relative_corner(verts, at[0], point, here),
        load_relative_corner(verts, at[1], point, here),
        load_relative_corner(verts, at[2], point, here),
    )


@triton.jit
def find_corners(faces, face, view, n_verts, here):
    """Return where the three corners of faces are in verts [N, V, 4]."""
    index = load_triple(faces, face, here)
    first = view * n_verts
    return 4 * (first + index[0]), 4 * (first + index[1]), 4 * (first + index[2])


@triton.jit
def locate(corners):
    """Return the coordinates of the point that corners count from, and what scales the edge functions to them."""
    a, b, c = corners
    e0, e1, e2 = b[0] * c[1] - c[0] * b[1], c[0] * a[1] - a[0] * c[1], a[0] * b[1] - b[0] * a[1]
    total = e0 + e1 + e2
    scale = tl.where(total == 0, 0.0, 1.0 / tl.where(total == 0, 1.0, total))
    return (e0 * scale, e1 * scale, e2 * scale), scale


@triton.jit
def locate_tangents(corners, moved, bary, scale):
    """Return the tangents of coordinates from those of the corners, which count from the point as these do."""
    a, b, c = corners
    p, q, r = moved
    d0 = q[0] * c[1] + b[0] * r[1] - r[0] * b[1] - c[0] * q[1]
    d1 = r[0] * a[1] + c[0] * p[1] - p[0] * c[1] - a[0] * r[1]
    d2 = p[0] * b[1] + a[0] * q[1] - q[0] * a[1] - b[0] * p[1]
    # b_i = e_i / total, so d b_i = (d e_i - b_i sum_j d e_j) / total.
    growth = d0 + d1 + d2
    return (d0 - bary[0] * growth) * scale, (d1 - bary[1] * growth) * scale, (d2 - bary[2] * growth) * scale


@triton.jit
def add_corner_gradient(total, at, x, y, w, point, first, last, BLOCK: tl.constexpr):
    """Add the gradient of corners counted from the points to total[at]."""
    kind = total.dtype.element_ty
    add_runs(total, at, x.to(kind), first, last, BLOCK)
    add_runs(total, at + 1, y.to(kind), first, last, BLOCK)
    add_runs(total, at + 2, (w - point[0] * x - point[1] * y).to(kind), first, last, BLOCK)


@triton.jit
def add_gradient(total, at, corners, point, bary, scale, grad, first, last, BLOCK: tl.constexpr):
    """Add to total what the gradient of coordinates is for the corners of their faces."""
    a, b, c = corners
    # b_i = e_i / total, so d e_i = (d b_i - sum_j d b_j b_j) / total.
    mean = grad[0] * bary[0] + grad[1] * bary[1] + grad[2] * bary[2]
    g0 = tl.where(scale == 0, 0.0, (grad[0] - mean) * scale)
    g1 = tl.where(scale == 0, 0.0, (grad[1] - mean) * scale)
    g2 = tl.where(scale == 0, 0.0, (grad[2] - mean) * scale)
    add_corner_gradient(total, at[0], b[1] * g2 - c[1] * g1, c[0] * g1 - b[0] * g2, 0.0, point, first, last, BLOCK)
    add_corner_gradient(total, at[1], c[1] * g0 - a[1] * g2, a[0] * g2 - c[0] * g0, 0.0, point, first, last, BLOCK)
    add_corner_gradient(total, at[2], a[1] * g1 - b[1] * g0, b[0] * g0 - a[0] * g1, 0.0, point, first, last, BLOCK)


@triton.jit(do_not_specialize=["n", "n_verts"])
def evaluate(verts, faces, views, face_id, xy, out, n, n_verts, BLOCK: tl.constexpr):
    """Write coordinates, one point a lane."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n
    face, view = tl.load(face_id + m, here, other=0), tl.load(views + m, here, other=0)
    at, point = find_corners(faces, face, view, n_verts, here), load_point(xy, m, here)
    bary, _ = locate(load_relative_corners(verts, at, point, here))
    store_triple(out, m, bary, here)


@triton.jit(do_not_specialize=["n", "n_verts"])
def gradients(verts, faces, views, face_id, xy, grad, total, n, n_verts, BLOCK: tl.constexpr):
    """Add the gradient of the points to total [N, V, 4], one point a lane."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n
    face, view = tl.load(face_id + m, here, other=0), tl.load(views + m, here, other=-1)
    first, last = find_runs((view << 32) + face, here, BLOCK)
    at, point = find_corners(faces, face, view, n_verts, here), load_point(xy, m, here)
    corners = load_relative_corners(verts, at, point, here)
    bary, scale = locate(corners)
    add_gradient(total, at, corners, point, bary, scale, load_triple(grad, m, here), first, last, BLOCK)


@triton.jit(do_not_specialize=["n", "n_verts", "n_numbers", "n_tangents"])
def tangents_of(
    d_verts, verts, faces, views, face_id, xy, out, n, n_verts, n_numbers, n_tangents, BLOCK: tl.constexpr
):  # fmt: skip
    """Write all tangents of coordinates, one point a lane; n_numbers: from one tangent of the vertices to the next."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n
    face, view = tl.load(face_id + m, here, other=0), tl.load(views + m, here, other=0)
    at, point = find_corners(faces, face, view, n_verts, here), load_point(xy, m, here)
    corners = load_relative_corners(verts, at, point, here)
    bary, scale = locate(corners)
    left = n_tangents
    while left > 0:
        moved = load_relative_corners(d_verts, at, point, here)
        store_triple(out, m, locate_tangents(corners, moved, bary, scale), here)
        d_verts += n_numbers
        m += n
        left -= 1


def forward(verts_hom: Tensor, faces: Tensor, view: Tensor, face_id: Tensor, xy_px: Tensor) -> Tensor:
    """See op.barycentrics."""
    n = len(face_id)
    out = torch.empty((n, 3), dtype=verts_hom.dtype, device=verts_hom.device)
    points = [part.contiguous() for part in (verts_hom, faces, view, face_id, xy_px)]
    launch(evaluate, triton.cdiv(n, BLOCK), *points, out, n, verts_hom.shape[1], **OPTIONS)
    return out


def backward(
    grad_bary: Tensor,
    verts_hom: Tensor,
    faces: Tensor,
    view: Tensor,
    face_id: Tensor,
    xy_px: Tensor,
    wants: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """See run_differentiable."""
    n = len(face_id)
    total = torch.zeros(verts_hom.shape, dtype=verts_hom.dtype, device=verts_hom.device)
    points = [part.contiguous() for part in (verts_hom, faces, view, face_id, xy_px, grad_bary)]
    launch(gradients, triton.cdiv(n, BLOCK), *points, total, n, verts_hom.shape[1], **OPTIONS)
    return total, None, None, None, None


def jvp(
    tangents: Sequence[Tensor | None], verts_hom: Tensor, faces: Tensor, view: Tensor, face_id: Tensor, xy_px: Tensor
) -> Tensor:
    """See run_differentiable."""
    n, n_tangents = len(face_id), count_tangents(tangents)
    out = torch.empty((n_tangents, n, 3), dtype=verts_hom.dtype, device=verts_hom.device)
    points = [part.contiguous() for part in (verts_hom, faces, view, face_id, xy_px)]
    (moved,), _ = tangents_or(points[:1], tangents[:1])
    sizes = (n, verts_hom.shape[1], verts_hom.numel(), n_tangents)
    launch(tangents_of, triton.cdiv(n, BLOCK), moved, *points, out, *sizes, **OPTIONS)
    return out
