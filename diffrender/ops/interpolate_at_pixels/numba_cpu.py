"""Values at points of the image and their gradient on the CPU. Arithmetic in float64; channels go by threes.

Neighbouring points mostly lie on the same face: what belongs to the face is loaded, and its gradient added, once for
such a run. For the gradient the edge functions are lines e_i = l_i . (x, y, 1), in which x and y count from the first
point of the run (the points are cut into parts that do not depend on the threads).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.ops.as_numpy import as_numpy, tangent_or_none
from diffrender.ops.scatter import sum_into
from diffrender.ops.tangents import count_tangents
from diffrender.ops.vec3 import cross, dot, plus
from diffrender.threads import parallel_for

CHANNELS = 3


@njit(nogil=True, cache=True, forceinline=True)
def corner_from(verts, view, vertex, px, py):
    """Return a corner (x, y, w), times w, counted from the point (px, py)."""
    w = np.float64(verts[view, vertex, 2])
    return verts[view, vertex, 0] - px * w, verts[view, vertex, 1] - py * w, w


@njit(nogil=True, cache=True, forceinline=True)
def value_of(values, vertex):
    """Return the three channels of a vertex."""
    return np.float64(values[vertex, 0]), np.float64(values[vertex, 1]), np.float64(values[vertex, 2])


@njit(nogil=True, cache=True)
def evaluate(start, end, values, faces, face_id, verts, scene_faces, scene_face_id, views, xy, out):
    """Write values [M, 3] at the points start..end-1."""
    m = start
    while m < end:
        face, view, own = scene_face_id[m], views[m], face_id[m]
        x0, y0, w0 = corner_from(verts, view, scene_faces[face, 0], 0.0, 0.0)
        x1, y1, w1 = corner_from(verts, view, scene_faces[face, 1], 0.0, 0.0)
        x2, y2, w2 = corner_from(verts, view, scene_faces[face, 2], 0.0, 0.0)
        a, b, c = value_of(values, faces[own, 0]), value_of(values, faces[own, 1]), value_of(values, faces[own, 2])
        while m < end and scene_face_id[m] == face and views[m] == view:
            # Corners counted from the point itself: where a run begins depends on the threads and must not show.
            x, y = np.float64(xy[m, 0]), np.float64(xy[m, 1])
            ax, ay, bx, by, cx, cy = x0 - x * w0, y0 - y * w0, x1 - x * w1, y1 - y * w1, x2 - x * w2, y2 - y * w2
            e0, e1, e2 = bx * cy - cx * by, cx * ay - ax * cy, ax * by - bx * ay
            total = e0 + e1 + e2
            scale = 1.0 / total if total != 0.0 else 0.0
            b0, b1, b2 = e0 * scale, e1 * scale, e2 * scale
            out[m, 0] = b0 * a[0] + b1 * b[0] + b2 * c[0]
            out[m, 1] = b0 * a[1] + b1 * b[1] + b2 * c[1]
            out[m, 2] = b0 * a[2] + b1 * b[2] + b2 * c[2]
            m += 1


@njit(nogil=True, cache=True, forceinline=True)
def weighted_sum(a, b, c, weights):
    """Return the sum of three triples, times a weight each."""
    u, v, w = weights
    return a[0] * u + b[0] * v + c[0] * w, a[1] * u + b[1] * v + c[1] * w, a[2] * u + b[2] * v + c[2] * w


@njit(nogil=True, cache=True, forceinline=True)
def add_to_corner(total, at, v_next, v_last, l_next, l_last, px, py):
    """Add the gradient of l_next = v_last x v and l_last = v x v_next to the corner v at total[at:]."""
    gx, gy, gw = plus(cross(l_next, v_last), 1.0, cross(v_next, l_last))
    total[at] += gx
    total[at + 1] += gy
    total[at + 2] += gw - px * gx - py * gy


@njit(nogil=True, cache=True, forceinline=True)
def add_to_value(total, at, line, red, green, blue):
    """Add the gradient of a vertex' channels to total[at:]."""
    total[at] += dot(line, red)
    total[at + 1] += dot(line, green)
    total[at + 2] += dot(line, blue)


@njit(nogil=True, cache=True, fastmath={"contract"})
def add_gradient(
    start, end, total, grad, values, faces, face_id, verts, scene_faces, scene_face_id, views, xy,
    first_verts, wants_values, wants_verts,
):  # fmt: skip
    """Add the gradient of the points start..end-1 to total: of values from 0 on, of verts from first_verts on."""
    m = start
    while m < end:
        face, view, own = scene_face_id[m], views[m], face_id[m]
        px, py = np.float64(xy[m, 0]), np.float64(xy[m, 1])
        v0 = corner_from(verts, view, scene_faces[face, 0], px, py)
        v1 = corner_from(verts, view, scene_faces[face, 1], px, py)
        v2 = corner_from(verts, view, scene_faces[face, 2], px, py)
        l0, l1, l2 = cross(v1, v2), cross(v2, v0), cross(v0, v1)
        a, b, c = value_of(values, faces[own, 0]), value_of(values, faces[own, 1]), value_of(values, faces[own, 2])
        # The channels are n / d, with these lines.
        nx, ny, nz = weighted_sum(l0, l1, l2, (a[0], b[0], c[0]))
        ox, oy, oz = weighted_sum(l0, l1, l2, (a[1], b[1], c[1]))
        qx, qy, qz = weighted_sum(l0, l1, l2, (a[2], b[2], c[2]))
        dx, dy, dz = weighted_sum(l0, l1, l2, (1.0, 1.0, 1.0))
        # Their gradients, summed over the run.
        rx, ry, rz, gx, gy, gz, hx, hy, hz, sx, sy, sz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        while m < end and scene_face_id[m] == face and views[m] == view:
            x, y = xy[m, 0] - px, xy[m, 1] - py
            d = dx * x + dy * y + dz
            scale = 1.0 / d if d != 0.0 else 0.0
            r, g, h = grad[m, 0] * scale, grad[m, 1] * scale, grad[m, 2] * scale
            s = -scale * (r * (nx * x + ny * y + nz) + g * (ox * x + oy * y + oz) + h * (qx * x + qy * y + qz))
            rx, ry, rz = rx + r * x, ry + r * y, rz + r
            gx, gy, gz = gx + g * x, gy + g * y, gz + g
            hx, hy, hz = hx + h * x, hy + h * y, hz + h
            sx, sy, sz = sx + s * x, sy + s * y, sz + s
            m += 1
        red, green, blue, sums = (rx, ry, rz), (gx, gy, gz), (hx, hy, hz), (sx, sy, sz)
        if wants_values:
            add_to_value(total, 3 * faces[own, 0], l0, red, green, blue)
            add_to_value(total, 3 * faces[own, 1], l1, red, green, blue)
            add_to_value(total, 3 * faces[own, 2], l2, red, green, blue)
        if wants_verts:
            d0 = plus(sums, 1.0, weighted_sum(red, green, blue, a))
            d1 = plus(sums, 1.0, weighted_sum(red, green, blue, b))
            d2 = plus(sums, 1.0, weighted_sum(red, green, blue, c))
            first = first_verts + 4 * view * verts.shape[1]
            add_to_corner(total, first + 4 * scene_faces[face, 0], v1, v2, d1, d2, px, py)
            add_to_corner(total, first + 4 * scene_faces[face, 1], v2, v0, d2, d0, px, py)
            add_to_corner(total, first + 4 * scene_faces[face, 2], v0, v1, d0, d1, px, py)


@njit(nogil=True, cache=True, forceinline=True)
def first_of_run(m, face, view, scene_face_id, views):
    """Return the first point of the run on one face that point m is in, wherever the thread's part begins."""
    while m > 0 and scene_face_id[m - 1] == face and views[m - 1] == view:
        m -= 1
    return m


@njit(nogil=True, cache=True, fastmath={"contract"})
def tangents_of(
    start, end, d_values, d_verts, values, faces, face_id, verts, scene_faces, scene_face_id, views, xy, out
):  # fmt: skip
    """Write the tangents [K, M, 3] of the points start..end-1; those of values or verts may be [0, ...]."""
    m = start
    while m < end:
        face, view, own = scene_face_id[m], views[m], face_id[m]
        begin = first_of_run(m, face, view, scene_face_id, views)
        px, py = np.float64(xy[begin, 0]), np.float64(xy[begin, 1])
        i0, i1, i2 = scene_faces[face, 0], scene_faces[face, 1], scene_faces[face, 2]
        j0, j1, j2 = faces[own, 0], faces[own, 1], faces[own, 2]
        v0, v1 = corner_from(verts, view, i0, px, py), corner_from(verts, view, i1, px, py)
        v2 = corner_from(verts, view, i2, px, py)
        l0, l1, l2 = cross(v1, v2), cross(v2, v0), cross(v0, v1)
        det = dot(v0, l0)
        # Where verts move the surface at a point by some pixels, the values there change by their slope times that.
        per_det = 1.0 / det if det != 0.0 else 0.0
        a, b, c = value_of(values, j0), value_of(values, j1), value_of(values, j2)
        n, o = weighted_sum(l0, l1, l2, (a[0], b[0], c[0])), weighted_sum(l0, l1, l2, (a[1], b[1], c[1]))
        q, d = weighted_sum(l0, l1, l2, (a[2], b[2], c[2])), weighted_sum(l0, l1, l2, (1.0, 1.0, 1.0))
        while m < end and scene_face_id[m] == face and views[m] == view:
            x, y = xy[m, 0] - px, xy[m, 1] - py
            at = x, y, 1.0
            e0, e1, e2 = dot(l0, at), dot(l1, at), dot(l2, at)
            total = e0 + e1 + e2
            scale = 1.0 / total if total != 0.0 else 0.0
            red, green, blue = scale * dot(n, at), scale * dot(o, at), scale * dot(q, at)
            slope = scale * per_det
            rx, ry = slope * (n[0] - red * d[0]), slope * (n[1] - red * d[1])
            gx, gy = slope * (o[0] - green * d[0]), slope * (o[1] - green * d[1])
            bx, by = slope * (q[0] - blue * d[0]), slope * (q[1] - blue * d[1])
            b0, b1, b2 = e0 * scale, e1 * scale, e2 * scale
            for k in range(len(out)):
                r, g, h = 0.0, 0.0, 0.0
                if len(d_verts) > 0:
                    w = e0 * d_verts[k, view, i0, 2] + e1 * d_verts[k, view, i1, 2] + e2 * d_verts[k, view, i2, 2]
                    u = e0 * d_verts[k, view, i0, 0] + e1 * d_verts[k, view, i1, 0] + e2 * d_verts[k, view, i2, 0]
                    v = e0 * d_verts[k, view, i0, 1] + e1 * d_verts[k, view, i1, 1] + e2 * d_verts[k, view, i2, 1]
                    u, v = (px + x) * w - u, (py + y) * w - v
                    r, g, h = rx * u + ry * v, gx * u + gy * v, bx * u + by * v
                if len(d_values) > 0:
                    r += b0 * d_values[k, j0, 0] + b1 * d_values[k, j1, 0] + b2 * d_values[k, j2, 0]
                    g += b0 * d_values[k, j0, 1] + b1 * d_values[k, j1, 1] + b2 * d_values[k, j2, 1]
                    h += b0 * d_values[k, j0, 2] + b1 * d_values[k, j1, 2] + b2 * d_values[k, j2, 2]
                out[k, m, 0], out[k, m, 1], out[k, m, 2] = r, g, h
            m += 1


def _by_threes(values: Tensor) -> list[Tensor]:
    """Return [..., C] as contiguous [..., 3], the last filled up with zeros."""
    values = values.detach()
    if values.shape[-1] == CHANNELS:
        return [values.contiguous()]
    missing = -values.shape[-1] % CHANNELS
    padded = torch.nn.functional.pad(values, (0, missing))
    return [padded[..., c : c + CHANNELS].contiguous() for c in range(0, values.shape[-1], CHANNELS)]


def _joined(outputs: list[Tensor], shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return parts [..., 3] as one tensor of `shape`."""
    if len(outputs) == 1 and shape[-1] == CHANNELS:
        return outputs[0]
    joined = torch.cat(outputs, -1) if outputs else memory.empty(shape, dtype)
    return joined[..., : shape[-1]].contiguous()


def forward(
    values: Tensor, faces: Tensor, face_id: Tensor, verts_hom: Tensor, scene_faces: Tensor, scene_face_id: Tensor,
    view: Tensor, xy_px: Tensor,
) -> Tensor:  # fmt: skip
    """See op.interpolate_at_pixels."""
    points = as_numpy(faces, face_id, verts_hom, scene_faces, scene_face_id, view, xy_px)
    outputs = []
    for part in _by_threes(values):
        out = memory.empty((len(face_id), CHANNELS), values.dtype)
        parallel_for(evaluate, len(face_id), 16384, part.numpy(), *points, out.numpy())
        outputs.append(out)
    return _joined(outputs, (len(face_id), values.shape[1]), values.dtype)


def backward(
    grad_out: Tensor, values: Tensor, faces: Tensor, face_id: Tensor, verts_hom: Tensor, scene_faces: Tensor,
    scene_face_id: Tensor, view: Tensor, xy_px: Tensor, wants: Sequence[bool],
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """See run_differentiable."""
    wants_values, wants_verts = wants[0], wants[3]
    points = as_numpy(faces, face_id, verts_hom, scene_faces, scene_face_id, view, xy_px)
    n_values = CHANNELS * len(values) if wants_values else 0
    size = n_values + (verts_hom.numel() if wants_verts else 0)
    grad_parts, grad_verts = [], None
    for part, grad in zip(_by_threes(values), _by_threes(grad_out), strict=True):
        total = sum_into(
            (size,), values.dtype, len(face_id), add_gradient,
            grad.numpy(), part.numpy(), *points, n_values, wants_values, wants_verts,
        )  # fmt: skip
        grad_parts.append(total[:n_values].reshape(-1, CHANNELS))
        if wants_verts:
            part_verts = total[n_values:].reshape(verts_hom.shape)
            grad_verts = part_verts if grad_verts is None else grad_verts + part_verts
    if not grad_parts:  # there are no channels
        grad_parts, grad_verts = [torch.zeros_like(values)], torch.zeros_like(verts_hom)
    grad_values = _joined(grad_parts, tuple(values.shape), values.dtype) if wants_values else None
    return grad_values, None, None, grad_verts if wants_verts else None, None, None, None, None


def jvp(
    tangents: Sequence[Tensor | None], values: Tensor, faces: Tensor, face_id: Tensor, verts_hom: Tensor,
    scene_faces: Tensor, scene_face_id: Tensor, view: Tensor, xy_px: Tensor,
) -> Tensor:  # fmt: skip
    """See run_differentiable."""
    of_values, d_verts = tangents[0], tangent_or_none(tangents[3], verts_hom)
    points = as_numpy(faces, face_id, verts_hom, scene_faces, scene_face_id, view, xy_px)
    shape = (count_tangents(tangents), len(face_id), values.shape[1])
    d_parts = _by_threes(values.new_empty((0, *values.shape)) if of_values is None else of_values)
    outputs = []
    for part, d_part in zip(_by_threes(values), d_parts, strict=True):
        out = memory.empty((*shape[:2], CHANNELS), values.dtype)
        parallel_for(tangents_of, len(face_id), 8192, d_part.numpy(), d_verts, part.numpy(), *points, out.numpy())
        outputs.append(out)
    return _joined(outputs, shape, values.dtype)
