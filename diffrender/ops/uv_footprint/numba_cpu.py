"""Derivatives of texture coordinates and their gradients on the CPU. Arithmetic in float64; names as in NOTES.md."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from diffrender.ops.arrays import arrays
from diffrender.ops.scatter import sum_into
from diffrender.ops.uv_footprint.limits import LARGEST
from diffrender.threads import parallel_for

# Samples that are worth a turn of a thread.
GRAIN = 8192


@njit(nogil=True, cache=True, inline="always")
def corner_of(verts, view, v):
    """(x w, y w, w) of a vertex in float64."""
    return np.float64(verts[view, v, 0]), np.float64(verts[view, v, 1]), np.float64(verts[view, v, 2])


@njit(nogil=True, cache=True, inline="always")
def coordinate_of(uvs, t):
    """(u, v) of a texture coordinate in float64."""
    return np.float64(uvs[t, 0]), np.float64(uvs[t, 1])


@njit(nogil=True, cache=True, inline="always")
def cross(px, py, pw, qx, qy, qw):
    """The cross product of two corners."""
    return py * qw - pw * qy, pw * qx - px * qw, px * qy - py * qx


@njit(nogil=True, cache=True, inline="always")
def bounded(value):
    """`value` within -LARGEST..LARGEST."""
    return min(max(value, -LARGEST), LARGEST)


@njit(nogil=True, cache=True)
def evaluate(start, end, verts, faces, uvs, uv_faces, views, face_id, bary, out):
    """Derivatives [M, 2, 2] at the points start..end-1."""
    for m in range(start, end):
        face, view = face_id[m], views[m]
        x0, y0, w0 = corner_of(verts, view, faces[face, 0])
        x1, y1, w1 = corner_of(verts, view, faces[face, 1])
        x2, y2, w2 = corner_of(verts, view, faces[face, 2])
        u0, v0 = coordinate_of(uvs, uv_faces[face, 0])
        u1, v1 = coordinate_of(uvs, uv_faces[face, 1])
        u2, v2 = coordinate_of(uvs, uv_faces[face, 2])
        b0, b1, b2 = np.float64(bary[m, 0]), np.float64(bary[m, 1]), np.float64(bary[m, 2])
        kx0, ky0, kw0 = cross(x1, y1, w1, x2, y2, w2)
        kx1, ky1, _ = cross(x2, y2, w2, x0, y0, w0)
        kx2, ky2, _ = cross(x0, y0, w0, x1, y1, w1)
        det = x0 * kx0 + y0 * ky0 + w0 * kw0
        u, v = b0 * u0 + b1 * u1 + b2 * u2, b0 * v0 + b1 * v1 + b2 * v2
        scale = (b0 * w0 + b1 * w1 + b2 * w2) / det if det != 0.0 else 0.0
        # U - uv S, with both as sums over the corners.
        out[m, 0, 0] = bounded(scale * ((u0 - u) * kx0 + (u1 - u) * kx1 + (u2 - u) * kx2))
        out[m, 0, 1] = bounded(scale * ((u0 - u) * ky0 + (u1 - u) * ky1 + (u2 - u) * ky2))
        out[m, 1, 0] = bounded(scale * ((v0 - v) * kx0 + (v1 - v) * kx1 + (v2 - v) * kx2))
        out[m, 1, 1] = bounded(scale * ((v0 - v) * ky0 + (v1 - v) * ky1 + (v2 - v) * ky2))


@njit(nogil=True, cache=True)
def add_gradients(start, end, grad_verts, grads, verts, faces, uvs, uv_faces, views, face_id, bary, grad_uv, grad_bary):
    """Add the gradient of the points start..end-1 to grad_verts [N, V, 4]; write those of the corners' uvs [M, 3, 2]
    and of bary [M, 3]. Any of the three may be empty: it is not wanted then.
    """
    wants_verts, wants_uv, wants_bary = len(grad_verts) > 0, len(grad_uv) > 0, len(grad_bary) > 0
    for m in range(start, end):
        face, view = face_id[m], views[m]
        x0, y0, w0 = corner_of(verts, view, faces[face, 0])
        x1, y1, w1 = corner_of(verts, view, faces[face, 1])
        x2, y2, w2 = corner_of(verts, view, faces[face, 2])
        u0, v0 = coordinate_of(uvs, uv_faces[face, 0])
        u1, v1 = coordinate_of(uvs, uv_faces[face, 1])
        u2, v2 = coordinate_of(uvs, uv_faces[face, 2])
        b0, b1, b2 = np.float64(bary[m, 0]), np.float64(bary[m, 1]), np.float64(bary[m, 2])
        kx0, ky0, kw0 = cross(x1, y1, w1, x2, y2, w2)
        kx1, ky1, kw1 = cross(x2, y2, w2, x0, y0, w0)
        kx2, ky2, kw2 = cross(x0, y0, w0, x1, y1, w1)
        det = x0 * kx0 + y0 * ky0 + w0 * kw0
        inverse = 1.0 / det if det != 0.0 else 0.0
        w = b0 * w0 + b1 * w1 + b2 * w2
        u, v = b0 * u0 + b1 * u1 + b2 * u2, b0 * v0 + b1 * v1 + b2 * v2
        # The four derivatives over w, and their gradients times w: zero where they are held.
        dux = inverse * ((u0 - u) * kx0 + (u1 - u) * kx1 + (u2 - u) * kx2)
        duy = inverse * ((u0 - u) * ky0 + (u1 - u) * ky1 + (u2 - u) * ky2)
        dvx = inverse * ((v0 - v) * kx0 + (v1 - v) * kx1 + (v2 - v) * kx2)
        dvy = inverse * ((v0 - v) * ky0 + (v1 - v) * ky1 + (v2 - v) * ky2)
        gux = np.float64(grads[m, 0, 0]) if abs(w * dux) <= LARGEST else 0.0
        guy = np.float64(grads[m, 0, 1]) if abs(w * duy) <= LARGEST else 0.0
        gvx = np.float64(grads[m, 1, 0]) if abs(w * dvx) <= LARGEST else 0.0
        gvy = np.float64(grads[m, 1, 1]) if abs(w * dvy) <= LARGEST else 0.0
        g_w = gux * dux + guy * duy + gvx * dvx + gvy * dvy
        scale = w * inverse
        gux, guy, gvx, gvy = gux * scale, guy * scale, gvx * scale, gvy * scale
        # From here on the gradients are those of sums of (u_i - u) k_i without any factor.
        su0, su1, su2 = gux * kx0 + guy * ky0, gux * kx1 + guy * ky1, gux * kx2 + guy * ky2
        sv0, sv1, sv2 = gvx * kx0 + gvy * ky0, gvx * kx1 + gvy * ky1, gvx * kx2 + gvy * ky2
        g_u, g_v = -(su0 + su1 + su2), -(sv0 + sv1 + sv2)
        if wants_bary:
            grad_bary[m, 0] = g_u * u0 + g_v * v0 + g_w * w0
            grad_bary[m, 1] = g_u * u1 + g_v * v1 + g_w * w1
            grad_bary[m, 2] = g_u * u2 + g_v * v2 + g_w * w2
        if wants_uv:
            grad_uv[m, 0, 0], grad_uv[m, 0, 1] = su0 + b0 * g_u, sv0 + b0 * g_v
            grad_uv[m, 1, 0], grad_uv[m, 1, 1] = su1 + b1 * g_u, sv1 + b1 * g_v
            grad_uv[m, 2, 0], grad_uv[m, 2, 1] = su2 + b2 * g_u, sv2 + b2 * g_v
        if not wants_verts or det == 0.0:
            continue
        gx0, gy0 = (u0 - u) * gux + (v0 - v) * gvx, (u0 - u) * guy + (v0 - v) * gvy
        gx1, gy1 = (u1 - u) * gux + (v1 - v) * gvx, (u1 - u) * guy + (v1 - v) * gvy
        gx2, gy2 = (u2 - u) * gux + (v2 - v) * gvx, (u2 - u) * guy + (v2 - v) * gvy
        # det is linear in each corner, with the cross product of the other two as its gradient.
        g_det = -inverse * (gx0 * kx0 + gy0 * ky0 + gx1 * kx1 + gy1 * ky1 + gx2 * kx2 + gy2 * ky2)
        p0, p1, p2 = faces[face, 0], faces[face, 1], faces[face, 2]
        grad_verts[view, p0, 0] += g_det * kx0 + gy1 * w2 - gy2 * w1
        grad_verts[view, p0, 1] += g_det * ky0 - gx1 * w2 + gx2 * w1
        grad_verts[view, p0, 2] += g_det * kw0 + gx1 * y2 - gy1 * x2 + gy2 * x1 - gx2 * y1 + b0 * g_w
        grad_verts[view, p1, 0] += g_det * kx1 + gy2 * w0 - gy0 * w2
        grad_verts[view, p1, 1] += g_det * ky1 - gx2 * w0 + gx0 * w2
        grad_verts[view, p1, 2] += g_det * kw1 + gx2 * y0 - gy2 * x0 + gy0 * x2 - gx0 * y2 + b1 * g_w
        grad_verts[view, p2, 0] += g_det * kx2 + gy0 * w1 - gy1 * w0
        grad_verts[view, p2, 1] += g_det * ky2 - gx0 * w1 + gx1 * w0
        grad_verts[view, p2, 2] += g_det * kw2 + gx0 * y1 - gy0 * x1 + gy1 * x0 - gx1 * y0 + b2 * g_w


@njit(nogil=True, cache=True)
def add_corners(start, end, total, grad_uv, uv_faces, face_id):
    """Add the gradients of the corners' texture coordinates [M, 3, 2] of the points start..end-1 to total [T, 2]."""
    for m in range(start, end):
        for i in range(3):
            t = uv_faces[face_id[m], i]
            total[t, 0] += grad_uv[m, i, 0]
            total[t, 1] += grad_uv[m, i, 1]


def forward(
    verts_hom: Tensor, faces: Tensor, uvs: Tensor, uv_faces: Tensor, view: Tensor, face_id: Tensor, bary: Tensor
) -> Tensor:
    """See op.uv_footprint."""
    out = torch.empty((len(face_id), 2, 2), dtype=verts_hom.dtype)
    points = arrays(verts_hom, faces, uvs, uv_faces, view, face_id, bary)
    parallel_for(evaluate, len(face_id), GRAIN, *points, out.numpy())
    return out


def backward(
    grad: Tensor,
    verts_hom: Tensor,
    faces: Tensor,
    uvs: Tensor,
    uv_faces: Tensor,
    view: Tensor,
    face_id: Tensor,
    bary: Tensor,
    wants_verts: bool,
    wants_uvs: bool,
    wants_bary: bool,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients with respect to verts_hom, uvs and bary, None where not wanted."""
    n_points = len(face_id)
    grad_corners = torch.empty((n_points if wants_uvs else 0, 3, 2), dtype=uvs.dtype)
    grad_bary = torch.empty((n_points if wants_bary else 0, 3), dtype=bary.dtype)
    points = arrays(grad, verts_hom, faces, uvs, uv_faces, view, face_id, bary, grad_corners, grad_bary)
    shape = tuple(verts_hom.shape) if wants_verts else (0, 0, 4)
    grad_verts = sum_into(shape, verts_hom.dtype, n_points, add_gradients, *points)
    grad_uvs = None
    if wants_uvs:
        corners = arrays(grad_corners, uv_faces, face_id)
        grad_uvs = sum_into(tuple(uvs.shape), uvs.dtype, n_points, add_corners, *corners)
    return grad_verts if wants_verts else None, grad_uvs, grad_bary if wants_bary else None
