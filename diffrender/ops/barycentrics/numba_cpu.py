"""Barycentric coordinates and their gradient on the CPU. Arithmetic in float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.ops.as_numpy import as_numpy, tangent_or_none
from diffrender.ops.scatter import sum_into
from diffrender.threads import parallel_for


@njit(nogil=True, cache=True, inline="always")
def relative_corners(verts, view, v0, v1, v2, px, py):
    """Return corners relative to the point, times w: (x0, y0, x1, y1, x2, y2)."""
    w0, w1, w2 = np.float64(verts[view, v0, 2]), np.float64(verts[view, v1, 2]), np.float64(verts[view, v2, 2])
    return (
        verts[view, v0, 0] - px * w0,
        verts[view, v0, 1] - py * w0,
        verts[view, v1, 0] - px * w1,
        verts[view, v1, 1] - py * w1,
        verts[view, v2, 0] - px * w2,
        verts[view, v2, 1] - py * w2,
    )


@njit(nogil=True, cache=True)
def evaluate(start, end, verts, faces, views, face_id, xy, out):
    """Write coordinates of the points start..end-1."""
    for m in range(start, end):
        face = face_id[m]
        px, py = np.float64(xy[m, 0]), np.float64(xy[m, 1])
        x0, y0, x1, y1, x2, y2 = relative_corners(
            verts, views[m], faces[face, 0], faces[face, 1], faces[face, 2], px, py
        )
        e0, e1, e2 = x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0
        total = e0 + e1 + e2
        scale = 1.0 / total if total != 0.0 else 0.0
        out[m, 0], out[m, 1], out[m, 2] = e0 * scale, e1 * scale, e2 * scale


@njit(nogil=True, cache=True)
def add_gradient(start, end, total_grad, grad, verts, faces, views, face_id, xy):
    """Add the gradient of the points start..end-1 to total_grad [N, V, 4]."""
    for m in range(start, end):
        face = face_id[m]
        view = views[m]
        v0, v1, v2 = faces[face, 0], faces[face, 1], faces[face, 2]
        px, py = np.float64(xy[m, 0]), np.float64(xy[m, 1])
        x0, y0, x1, y1, x2, y2 = relative_corners(verts, view, v0, v1, v2, px, py)
        e0, e1, e2 = x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0
        total = e0 + e1 + e2
        if total == 0.0:
            continue
        # b_i = e_i / total, so d e_i = (d b_i - sum_j d b_j b_j) / total.
        g0, g1, g2 = np.float64(grad[m, 0]), np.float64(grad[m, 1]), np.float64(grad[m, 2])
        mean = (g0 * e0 + g1 * e1 + g2 * e2) / total
        g0, g1, g2 = (g0 - mean) / total, (g1 - mean) / total, (g2 - mean) / total
        dx0, dy0 = y1 * g2 - y2 * g1, x2 * g1 - x1 * g2
        dx1, dy1 = y2 * g0 - y0 * g2, x0 * g2 - x2 * g0
        dx2, dy2 = y0 * g1 - y1 * g0, x1 * g0 - x0 * g1
        total_grad[view, v0, 0] += dx0
        total_grad[view, v0, 1] += dy0
        total_grad[view, v0, 2] -= px * dx0 + py * dy0
        total_grad[view, v1, 0] += dx1
        total_grad[view, v1, 1] += dy1
        total_grad[view, v1, 2] -= px * dx1 + py * dy1
        total_grad[view, v2, 0] += dx2
        total_grad[view, v2, 1] += dy2
        total_grad[view, v2, 2] -= px * dx2 + py * dy2


def forward(verts_hom: Tensor, faces: Tensor, view: Tensor, face_id: Tensor, xy_px: Tensor) -> Tensor:
    """See op.barycentrics."""
    out = memory.empty((len(face_id), 3), verts_hom.dtype)
    parallel_for(evaluate, len(face_id), 32768, *as_numpy(verts_hom, faces, view, face_id, xy_px), out.numpy())
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
    points = as_numpy(grad_bary, verts_hom, faces, view, face_id, xy_px)
    grad_verts = sum_into(tuple(verts_hom.shape), verts_hom.dtype, len(face_id), add_gradient, *points)
    return grad_verts, None, None, None, None


@njit(nogil=True, cache=True)
def tangents_of(start, end, d_verts, verts, faces, views, face_id, xy, out):
    """Write the tangents [K, M, 3] of the points start..end-1, from those of the vertices."""
    for m in range(start, end):
        view, v0, v1, v2 = views[m], faces[face_id[m], 0], faces[face_id[m], 1], faces[face_id[m], 2]
        px, py = np.float64(xy[m, 0]), np.float64(xy[m, 1])
        x0, y0, x1, y1, x2, y2 = relative_corners(verts, view, v0, v1, v2, px, py)
        e0, e1, e2 = x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0
        total = e0 + e1 + e2
        scale = 1.0 / total if total != 0.0 else 0.0
        for k in range(len(d_verts)):
            dx0, dy0, dx1, dy1, dx2, dy2 = relative_corners(d_verts[k], view, v0, v1, v2, px, py)
            d0 = dx1 * y2 + x1 * dy2 - dx2 * y1 - x2 * dy1
            d1 = dx2 * y0 + x2 * dy0 - dx0 * y2 - x0 * dy2
            d2 = dx0 * y1 + x0 * dy1 - dx1 * y0 - x1 * dy0
            # b_i = e_i / total, so d b_i = (d e_i - b_i sum_j d e_j) / total.
            growth = (d0 + d1 + d2) * scale
            out[k, m, 0] = (d0 - e0 * growth) * scale
            out[k, m, 1] = (d1 - e1 * growth) * scale
            out[k, m, 2] = (d2 - e2 * growth) * scale


def jvp(
    tangents: Sequence[Tensor | None], verts_hom: Tensor, faces: Tensor, view: Tensor, face_id: Tensor, xy_px: Tensor
) -> Tensor:
    """See run_differentiable."""
    d_verts = tangent_or_none(tangents[0], verts_hom)
    out = memory.empty((len(d_verts), len(face_id), 3), verts_hom.dtype)
    points = as_numpy(verts_hom, faces, view, face_id, xy_px)
    parallel_for(tangents_of, len(face_id), 16384, d_verts, *points, out.numpy())
    return out
