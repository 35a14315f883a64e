"""Texture coordinates, their derivatives and the gradients of both on the CPU. Arithmetic in float64; see NOTES.md.

As in ../interpolate_at_pixels, points go by runs on one face, and places count from the first point of the run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.ops.as_numpy import as_numpy, tangent_or_none
from diffrender.ops.interpolate_at_pixels.numba_cpu import (
    add_to_corner,
    corner_from,
    first_of_run,
    weighted_sum,
)
from diffrender.ops.scatter import sum_into
from diffrender.ops.screen_uvs.op import LARGEST
from diffrender.ops.tangents import count_tangents
from diffrender.ops.vec3 import cross, dot, plus
from diffrender.threads import parallel_for

# Minimum number of points per thread.
GRAIN = 16384


@njit(nogil=True, cache=True, forceinline=True)
def corners_from(verts, faces, face, view, px, py):
    """Return the three corners of a face, counted from the point (px, py)."""
    return (
        corner_from(verts, view, faces[face, 0], px, py),
        corner_from(verts, view, faces[face, 1], px, py),
        corner_from(verts, view, faces[face, 2], px, py),
    )


@njit(nogil=True, cache=True, forceinline=True)
def coordinates_of(uvs, uv_faces, face):
    """Return (u of the three corners, v of the three corners)."""
    a, b, c = uv_faces[face, 0], uv_faces[face, 1], uv_faces[face, 2]
    return (
        (np.float64(uvs[a, 0]), np.float64(uvs[b, 0]), np.float64(uvs[c, 0])),
        (np.float64(uvs[a, 1]), np.float64(uvs[b, 1]), np.float64(uvs[c, 1])),
    )


@njit(nogil=True, cache=True, forceinline=True)
def bound(value):
    """Return `value` within -LARGEST..LARGEST."""
    return min(max(value, -LARGEST), LARGEST)


@njit(nogil=True, cache=True, fastmath={"contract"})
def evaluate(start, end, uvs, uv_faces, face_id, verts, scene_faces, scene_face_id, views, xy, out_uv, out_derivatives):
    """Write coordinates [M, 2] and derivatives [M, 2, 2] at the points start..end-1."""
    m = start
    while m < end:
        face, view, own = scene_face_id[m], views[m], face_id[m]
        # Where a part of the points begins depends on the threads and must not show: back to where the run does.
        begin = first_of_run(m, face, view, scene_face_id, views)
        px, py = np.float64(xy[begin, 0]), np.float64(xy[begin, 1])
        v0, v1, v2 = corners_from(verts, scene_faces, face, view, px, py)
        l0, l1, l2 = cross(v1, v2), cross(v2, v0), cross(v0, v1)
        u, v = coordinates_of(uvs, uv_faces, own)
        nx, ny, nz = weighted_sum(l0, l1, l2, u)
        ox, oy, oz = weighted_sum(l0, l1, l2, v)
        dx, dy, dz = weighted_sum(l0, l1, l2, (1.0, 1.0, 1.0))
        while m < end and scene_face_id[m] == face and views[m] == view:
            x, y = xy[m, 0] - px, xy[m, 1] - py
            d = dx * x + dy * y + dz
            scale = 1.0 / d if d != 0.0 else 0.0
            here_u, here_v = scale * (nx * x + ny * y + nz), scale * (ox * x + oy * y + oz)
            out_uv[m, 0], out_uv[m, 1] = here_u, here_v
            out_derivatives[m, 0, 0] = bound(scale * (nx - here_u * dx))
            out_derivatives[m, 0, 1] = bound(scale * (ny - here_u * dy))
            out_derivatives[m, 1, 0] = bound(scale * (ox - here_v * dx))
            out_derivatives[m, 1, 1] = bound(scale * (oy - here_v * dy))
            m += 1


@njit(nogil=True, cache=True, forceinline=True)
def bound_gradient(grad, value):
    """Return the gradient of a derivative before it is held."""
    return np.float64(grad) if abs(value) <= LARGEST else 0.0


@njit(nogil=True, cache=True, fastmath={"contract"})
def add_gradients(
    start, end, total, grad_uv, grad_derivatives, uvs, uv_faces, face_id, verts, scene_faces, scene_face_id, views, xy,
    first_verts, wants_uvs, wants_verts,
):  # fmt: skip
    """Add the gradient of the points start..end-1 to total: of uvs from 0 on, of verts from first_verts on."""
    m = start
    while m < end:
        face, view, own = scene_face_id[m], views[m], face_id[m]
        px, py = np.float64(xy[m, 0]), np.float64(xy[m, 1])
        v0, v1, v2 = corners_from(verts, scene_faces, face, view, px, py)
        l0, l1, l2 = cross(v1, v2), cross(v2, v0), cross(v0, v1)
        u, v = coordinates_of(uvs, uv_faces, own)
        nx, ny, nz = weighted_sum(l0, l1, l2, u)
        ox, oy, oz = weighted_sum(l0, l1, l2, v)
        dx, dy, dz = weighted_sum(l0, l1, l2, (1.0, 1.0, 1.0))
        # The gradients of these three lines, summed over the run.
        rx, ry, rz, gx, gy, gz, sx, sy, sz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        while m < end and scene_face_id[m] == face and views[m] == view:
            x, y = xy[m, 0] - px, xy[m, 1] - py
            d = dx * x + dy * y + dz
            scale = 1.0 / d if d != 0.0 else 0.0
            here_u, here_v = scale * (nx * x + ny * y + nz), scale * (ox * x + oy * y + oz)
            ux, uy = scale * (nx - here_u * dx), scale * (ny - here_u * dy)
            vx, vy = scale * (ox - here_v * dx), scale * (oy - here_v * dy)
            g_ux = bound_gradient(grad_derivatives[m, 0, 0], ux) * scale
            g_uy = bound_gradient(grad_derivatives[m, 0, 1], uy) * scale
            g_vx = bound_gradient(grad_derivatives[m, 1, 0], vx) * scale
            g_vy = bound_gradient(grad_derivatives[m, 1, 1], vy) * scale
            r = scale * (grad_uv[m, 0] - g_ux * dx - g_uy * dy)
            g = scale * (grad_uv[m, 1] - g_vx * dx - g_vy * dy)
            s = -(r * here_u + g * here_v + g_ux * ux + g_uy * uy + g_vx * vx + g_vy * vy)
            rx, ry, rz = rx + r * x + g_ux, ry + r * y + g_uy, rz + r
            gx, gy, gz = gx + g * x + g_vx, gy + g * y + g_vy, gz + g
            sx += s * x - g_ux * here_u - g_vx * here_v
            sy += s * y - g_uy * here_u - g_vy * here_v
            sz += s
            m += 1
        of_u, of_v, sums = (rx, ry, rz), (gx, gy, gz), (sx, sy, sz)
        if wants_uvs:
            for c, line in enumerate((l0, l1, l2)):
                total[2 * uv_faces[own, c]] += dot(line, of_u)
                total[2 * uv_faces[own, c] + 1] += dot(line, of_v)
        if wants_verts:
            d0 = weighted_sum(of_u, of_v, sums, (u[0], v[0], 1.0))
            d1 = weighted_sum(of_u, of_v, sums, (u[1], v[1], 1.0))
            d2 = weighted_sum(of_u, of_v, sums, (u[2], v[2], 1.0))
            first = first_verts + 4 * view * verts.shape[1]
            add_to_corner(total, first + 4 * scene_faces[face, 0], v1, v2, d1, d2, px, py)
            add_to_corner(total, first + 4 * scene_faces[face, 1], v2, v0, d2, d0, px, py)
            add_to_corner(total, first + 4 * scene_faces[face, 2], v0, v1, d0, d1, px, py)


def forward(
    uvs: Tensor, uv_faces: Tensor, face_id: Tensor, verts_hom: Tensor, scene_faces: Tensor, scene_face_id: Tensor,
    view: Tensor, xy_px: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """See op.screen_uvs."""
    inputs = as_numpy(uvs, uv_faces, face_id, verts_hom, scene_faces, scene_face_id, view, xy_px)
    uv = memory.empty((len(face_id), 2), uvs.dtype)
    derivatives = memory.empty((len(face_id), 2, 2), uvs.dtype)
    parallel_for(evaluate, len(face_id), GRAIN, *inputs, uv.numpy(), derivatives.numpy())
    return uv, derivatives


def backward(
    grad_uv: Tensor, grad_derivatives: Tensor, uvs: Tensor, uv_faces: Tensor, face_id: Tensor, verts_hom: Tensor,
    scene_faces: Tensor, scene_face_id: Tensor, view: Tensor, xy_px: Tensor, wants: Sequence[bool],
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """See run_differentiable."""
    wants_uvs, wants_verts = wants[0], wants[3]
    grads = as_numpy(grad_uv, grad_derivatives)
    inputs = as_numpy(uvs, uv_faces, face_id, verts_hom, scene_faces, scene_face_id, view, xy_px)
    n_uvs = uvs.numel() if wants_uvs else 0
    size = n_uvs + (verts_hom.numel() if wants_verts else 0)
    total = sum_into(
        (size,), uvs.dtype, len(face_id), add_gradients, *grads, *inputs, n_uvs, wants_uvs, wants_verts
    )  # fmt: skip
    grad_uvs = total[:n_uvs].reshape(uvs.shape) if wants_uvs else None
    grad_verts = total[n_uvs:].reshape(verts_hom.shape) if wants_verts else None
    return grad_uvs, None, None, grad_verts, None, None, None, None


@njit(nogil=True, cache=True, forceinline=True)
def line_tangent(a, b, d_a, d_b):
    """Return the tangent of the line a x b."""
    return plus(cross(d_a, b), 1.0, cross(a, d_b))


@njit(nogil=True, cache=True, fastmath={"contract"})
def tangents_of(
    start, end, d_uvs, d_verts, uvs, uv_faces, face_id, verts, scene_faces, scene_face_id, views, xy,
    out_uv, out_derivatives,
):  # fmt: skip
    """Write the tangents of coordinates [K, M, 2] and derivatives [K, M, 2, 2] of the points start..end-1.

    Those of uvs or verts may be [0, ...].
    """
    m = start
    while m < end:
        face, view, own = scene_face_id[m], views[m], face_id[m]
        begin = first_of_run(m, face, view, scene_face_id, views)
        px, py = np.float64(xy[begin, 0]), np.float64(xy[begin, 1])
        v0, v1, v2 = corners_from(verts, scene_faces, face, view, px, py)
        l0, l1, l2 = cross(v1, v2), cross(v2, v0), cross(v0, v1)
        u, v = coordinates_of(uvs, uv_faces, own)
        n, o = weighted_sum(l0, l1, l2, u), weighted_sum(l0, l1, l2, v)
        d = weighted_sum(l0, l1, l2, (1.0, 1.0, 1.0))
        first, m = m, m + 1
        while m < end and scene_face_id[m] == face and views[m] == view:
            m += 1
        for k in range(len(out_uv)):
            dn, do, dd = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
            if len(d_verts) > 0:
                t0, t1, t2 = corners_from(d_verts[k], scene_faces, face, view, px, py)
                d0, d1, d2 = line_tangent(v1, v2, t1, t2), line_tangent(v2, v0, t2, t0), line_tangent(v0, v1, t0, t1)
                dn, do = weighted_sum(d0, d1, d2, u), weighted_sum(d0, d1, d2, v)
                dd = weighted_sum(d0, d1, d2, (1.0, 1.0, 1.0))
            if len(d_uvs) > 0:
                du, dv = coordinates_of(d_uvs[k], uv_faces, own)
                dn, do = plus(dn, 1.0, weighted_sum(l0, l1, l2, du)), plus(do, 1.0, weighted_sum(l0, l1, l2, dv))
            for p in range(first, m):
                at = xy[p, 0] - px, xy[p, 1] - py, 1.0
                total = dot(d, at)
                scale = 1.0 / total if total != 0.0 else 0.0
                growth = dot(dd, at)
                for i, (line, d_line) in enumerate(((n, dn), (o, do))):
                    here = scale * dot(line, at)
                    d_here = scale * (dot(d_line, at) - here * growth)
                    out_uv[k, p, i] = d_here
                    for j in range(2):
                        slope = scale * (line[j] - here * d[j])
                        d_slope = scale * (d_line[j] - d_here * d[j] - here * dd[j] - slope * growth)
                        out_derivatives[k, p, i, j] = d_slope if abs(slope) <= LARGEST else 0.0


def jvp(
    tangents: Sequence[Tensor | None], uvs: Tensor, uv_faces: Tensor, face_id: Tensor, verts_hom: Tensor,
    scene_faces: Tensor, scene_face_id: Tensor, view: Tensor, xy_px: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """See run_differentiable."""
    d_uvs, d_verts = tangent_or_none(tangents[0], uvs), tangent_or_none(tangents[3], verts_hom)
    inputs = as_numpy(uvs, uv_faces, face_id, verts_hom, scene_faces, scene_face_id, view, xy_px)
    shape = (count_tangents(tangents), len(face_id), 2)
    uv, derivatives = memory.empty(shape, uvs.dtype), memory.empty((*shape, 2), uvs.dtype)
    parallel_for(tangents_of, len(face_id), GRAIN, d_uvs, d_verts, *inputs, uv.numpy(), derivatives.numpy())
    return uv, derivatives
