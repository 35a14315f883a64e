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
def read_point(m, verts, faces, uvs, uv_faces, views, face_id, bary, corner, uv, b):
    """Corners [3, 3] (x w, y w, w), texture coordinates [3, 2] and barycentric coordinates [3] of a point."""
    face = face_id[m]
    for i in range(3):
        for k in range(3):
            corner[i, k] = verts[views[m], faces[face, i], k]
        uv[i, 0], uv[i, 1] = uvs[uv_faces[face, i], 0], uvs[uv_faces[face, i], 1]
        b[i] = bary[m, i]


@njit(nogil=True, cache=True, inline="always")
def slopes_of(corner, slope):
    """Fills the slopes [3, 2], and gives det; zeros where the face is seen edge-on."""
    for i in range(3):
        p, q = (i + 1) % 3, (i + 2) % 3
        slope[i, 0] = corner[p, 1] * corner[q, 2] - corner[p, 2] * corner[q, 1]
        slope[i, 1] = corner[p, 2] * corner[q, 0] - corner[p, 0] * corner[q, 2]
    upright = corner[1, 0] * corner[2, 1] - corner[1, 1] * corner[2, 0]
    det = corner[0, 0] * slope[0, 0] + corner[0, 1] * slope[0, 1] + corner[0, 2] * upright
    scale = 1.0 / det if det != 0.0 else 0.0
    for i in range(3):
        slope[i, 0] *= scale
        slope[i, 1] *= scale
    return det


@njit(nogil=True, cache=True, inline="always")
def derivatives_of(corner, uv, b, slope, total, mean, out):
    """Fills S = total [2], the point's uv = mean [2] and d uv [2, 2]; gives w."""
    w = b[0] * corner[0, 2] + b[1] * corner[1, 2] + b[2] * corner[2, 2]
    for k in range(2):
        total[k] = slope[0, k] + slope[1, k] + slope[2, k]
        mean[k] = b[0] * uv[0, k] + b[1] * uv[1, k] + b[2] * uv[2, k]
    for i in range(2):
        for j in range(2):
            over_w = uv[0, i] * slope[0, j] + uv[1, i] * slope[1, j] + uv[2, i] * slope[2, j]
            out[i, j] = w * (over_w - mean[i] * total[j])
    return w


@njit(nogil=True, cache=True)
def evaluate(start, end, verts, faces, uvs, uv_faces, views, face_id, bary, out):
    """Derivatives [M, 2, 2] at the points start..end-1."""
    corner, uv, b, slope = np.empty((3, 3)), np.empty((3, 2)), np.empty(3), np.empty((3, 2))
    total, mean, found = np.empty(2), np.empty(2), np.empty((2, 2))
    for m in range(start, end):
        read_point(m, verts, faces, uvs, uv_faces, views, face_id, bary, corner, uv, b)
        slopes_of(corner, slope)
        derivatives_of(corner, uv, b, slope, total, mean, found)
        for i in range(2):
            for j in range(2):
                out[m, i, j] = min(max(found[i, j], -LARGEST), LARGEST)


@njit(nogil=True, cache=True)
def add_gradients(start, end, grad_verts, grads, verts, faces, uvs, uv_faces, views, face_id, bary, grad_uv, grad_bary):
    """Add the gradient of the points start..end-1 to grad_verts [N, V, 4]; write those of the corners' uvs [M, 3, 2]
    and of bary [M, 3]. Any of the three may be empty: it is not wanted then.
    """
    corner, uv, b, slope = np.empty((3, 3)), np.empty((3, 2)), np.empty(3), np.empty((3, 2))
    total, mean, found, g = np.empty(2), np.empty(2), np.empty((2, 2)), np.empty((2, 2))
    g_total, g_mean, g_slope, g_corner = np.empty(2), np.empty(2), np.empty((3, 2)), np.empty((3, 3))
    for m in range(start, end):
        read_point(m, verts, faces, uvs, uv_faces, views, face_id, bary, corner, uv, b)
        det = slopes_of(corner, slope)
        w = derivatives_of(corner, uv, b, slope, total, mean, found)
        g_w = 0.0
        for i in range(2):
            for j in range(2):
                inside = abs(found[i, j]) <= LARGEST and det != 0.0
                g[i, j] = grads[m, i, j] if inside else 0.0
                over_w = uv[0, i] * slope[0, j] + uv[1, i] * slope[1, j] + uv[2, i] * slope[2, j]
                g_w += g[i, j] * (over_w - mean[i] * total[j])
        for k in range(2):
            g_total[k] = -w * (mean[0] * g[0, k] + mean[1] * g[1, k])
            g_mean[k] = -w * (g[k, 0] * total[0] + g[k, 1] * total[1])
        for i in range(3):
            if len(grad_bary):
                grad_bary[m, i] = g_mean[0] * uv[i, 0] + g_mean[1] * uv[i, 1] + g_w * corner[i, 2]
            for k in range(2):
                if len(grad_uv):
                    grad_uv[m, i, k] = w * (g[k, 0] * slope[i, 0] + g[k, 1] * slope[i, 1]) + b[i] * g_mean[k]
                g_slope[i, k] = w * (uv[i, 0] * g[0, k] + uv[i, 1] * g[1, k]) + g_total[k]
        if len(grad_verts) == 0 or det == 0.0:
            continue
        corner_gradient(corner, slope, det, g_slope, g_corner)
        for i in range(3):
            v = faces[face_id[m], i]
            grad_verts[views[m], v, 0] += g_corner[i, 0]
            grad_verts[views[m], v, 1] += g_corner[i, 1]
            grad_verts[views[m], v, 2] += g_corner[i, 2] + b[i] * g_w


@njit(nogil=True, cache=True, inline="always")
def corner_gradient(corner, slope, det, g_slope, g_corner):
    """Fills the gradient of the corners [3, 3] from that of the slopes: cross products over det."""
    g_det = 0.0
    for i in range(3):
        g_det -= (g_slope[i, 0] * slope[i, 0] + g_slope[i, 1] * slope[i, 1]) / det
    for i in range(3):
        # det is linear in corner i, with the cross product of the other two as its gradient.
        p, q = (i + 1) % 3, (i + 2) % 3
        g_corner[i, 0] = g_det * slope[i, 0] * det
        g_corner[i, 1] = g_det * slope[i, 1] * det
        g_corner[i, 2] = g_det * (corner[p, 0] * corner[q, 1] - corner[p, 1] * corner[q, 0])
    for i in range(3):
        p, q = (i + 1) % 3, (i + 2) % 3
        gx, gy = g_slope[i, 0] / det, g_slope[i, 1] / det
        g_corner[p, 0] -= gy * corner[q, 2]
        g_corner[p, 1] += gx * corner[q, 2]
        g_corner[p, 2] += gy * corner[q, 0] - gx * corner[q, 1]
        g_corner[q, 0] += gy * corner[p, 2]
        g_corner[q, 1] -= gx * corner[p, 2]
        g_corner[q, 2] += gx * corner[p, 1] - gy * corner[p, 0]


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
