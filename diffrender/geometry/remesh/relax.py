"""Kernels: slide vertices over the surface towards the centre of their faces (tangential relaxation)."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from diffrender.geometry.remesh.constants import COS_CORNER, MOVED, SLIVER
from diffrender.geometry.remesh.halfedges import (
    CURVE,
    FREE,
    after,
    assign_wedge,
    before,
    classify_vertex,
    normal_at,
    normal_of,
    normals_around,
    quality_of,
    side_end,
    turns_too_far,
)

# A vertex whose faces lean away from its normal by more on average is a tip, which sliding would cut off.
COS_TIP = math.cos(math.radians(45))
# Minimum height^2 / width^2 of a ring of neighbours, below which its height is ignored: far below the resolution of
# float32, far above the rounding of a 3 x 3 inverse in float64.
FLATTEST = 1e-10
# Minimum distance of a vertex on a line from its neighbour, as a fraction of the edge.
MARGIN = 0.1
# Attempts, each with half the step, before a vertex whose step would spoil a face stays in place.
N_TRIES = 3
# Steps shorter than this fraction of the target length are skipped, so a converged mesh stays the same bit for bit.
LEAST_STEP = 1e-3


@njit(cache=True, error_model="numpy")
def _spoils(m, v, x, y, z):
    """Return whether moving v would turn a face too far or make one worse than both SLIVER and the worst now."""
    p = m.position
    rx, ry, rz, _ = normals_around(m, v)
    worst_now, worst_then = 1.0, 1.0
    k = m.start[v]
    while True:
        b, c = m.corner[after(k)], m.corner[before(k)]
        nx, ny, nz, size = normal_at(p, v, b, c)
        worst_now = min(worst_now, quality_of(nx, ny, nz, size))
        mx, my, mz, size = normal_of(x, y, z, p[b, 0], p[b, 1], p[b, 2], p[c, 0], p[c, 1], p[c, 2])
        worst_then = min(worst_then, quality_of(mx, my, mz, size))
        if turns_too_far(nx, ny, nz, mx, my, mz, rx, ry, rz):
            return True
        k = m.twin[before(k)]
        if k < 0 or k == m.start[v]:
            return worst_then < min(SLIVER, worst_now)


@njit(cache=True, error_model="numpy")
def _texture_spoils(m, k, value, all_around):
    """Return whether a face inverts in the texture if the corners from k on, counter-clockwise, get `value`."""
    first = k
    while True:
        bx, by = m.wedge[after(k), 0], m.wedge[after(k), 1]
        ex, ey = m.wedge[before(k), 0] - bx, m.wedge[before(k), 1] - by
        old = ex * (m.wedge[k, 1] - by) - ey * (m.wedge[k, 0] - bx)
        if old != 0 and not old * (ex * (value[1] - by) - ey * (value[0] - bx)) > 0:
            return True
        if not all_around and m.kind[before(k)] != 0:
            return False
        k = m.twin[before(k)]
        if k < 0 or k == first:
            return False


@njit(cache=True, error_model="numpy")
def _middle(m, v):
    """Return (x, y, z, ok): the step from v to the centre of its faces, in the plane perpendicular to its normal.

    The centroid of each face is weighted by area / target^4, the density for which the cells of a centroidal Voronoi
    tessellation have the target size. ok is false at a tip.
    Source: Q. Du, V. Faber, M. Gunzburger, "Centroidal Voronoi tessellations" (1999).
    """
    p = m.position
    sx, sy, sz, weight = 0.0, 0.0, 0.0, 0.0
    nx, ny, nz, size = 0.0, 0.0, 0.0, 0.0
    k = m.start[v]
    while True:
        b, c = m.corner[after(k)], m.corner[before(k)]
        x, y, z, _ = normal_at(p, v, b, c)
        double_area = np.sqrt(x * x + y * y + z * z)
        nx, ny, nz, size = nx + x, ny + y, nz + z, size + double_area
        w = double_area / (m.target[v] + m.target[b] + m.target[c]) ** 4
        weight += w
        sx += w * (p[b, 0] + p[c, 0] - 2 * p[v, 0])
        sy += w * (p[b, 1] + p[c, 1] - 2 * p[v, 1])
        sz += w * (p[b, 2] + p[c, 2] - 2 * p[v, 2])
        k = m.twin[before(k)]
        if k < 0 or k == m.start[v]:
            break
    length = np.sqrt(nx * nx + ny * ny + nz * nz)
    if not (length > COS_TIP * size and weight > 0):
        return 0.0, 0.0, 0.0, False
    nx, ny, nz = nx / length, ny / length, nz / length
    sx, sy, sz = sx / (3 * weight), sy / (3 * weight), sz / (3 * weight)
    along = sx * nx + sy * ny + sz * nz
    return sx - along * nx, sy - along * ny, sz - along * nz, True


@njit(cache=True, error_model="numpy")
def _slope_of_weights(m, v, sx, sy, sz):
    """Return y = M^-1 step: the weights w_i = y . (p_i - p_v) of the neighbours then move v by the step.

    M = sum of (p_i - p_v) (p_i - p_v)^T. These are the smallest such weights.
    """
    p = m.position
    xx, yy, zz, xy, xz, yz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    k = m.start[v]
    while True:
        b = m.corner[after(k)]
        x, y, z = p[b, 0] - p[v, 0], p[b, 1] - p[v, 1], p[b, 2] - p[v, 2]
        xx, yy, zz, xy, xz, yz = xx + x * x, yy + y * y, zz + z * z, xy + x * y, xz + x * z, yz + y * z
        k = m.twin[before(k)]
        if k == m.start[v]:
            break
    floor = FLATTEST * (xx + yy + zz)
    xx, yy, zz = xx + floor, yy + floor, zz + floor
    cxx, cyy, czz = yy * zz - yz * yz, xx * zz - xz * xz, xx * yy - xy * xy
    cxy, cxz, cyz = xz * yz - xy * zz, xy * yz - xz * yy, xy * xz - yz * xx
    det = xx * cxx + xy * cxy + xz * cxz
    if not det > 0:
        return 0.0, 0.0, 0.0
    return (
        (cxx * sx + cxy * sy + cxz * sz) / det,
        (cxy * sx + cyy * sy + cyz * sz) / det,
        (cxz * sx + cyz * sy + czz * sz) / det,
    )


@njit(cache=True, error_model="numpy")
def _combine(m, v, yx, yy, yz, moved, value):
    """Write the weighted position into moved [3] and the weighted corner attributes into value [D]."""
    p = m.position
    first = m.start[v]
    for i in range(3):
        moved[i] = p[v, i]
    for i in range(len(value)):
        value[i] = m.wedge[first, i]
    k = first
    while True:
        b = m.corner[after(k)]
        w = yx * (p[b, 0] - p[v, 0]) + yy * (p[b, 1] - p[v, 1]) + yz * (p[b, 2] - p[v, 2])
        for i in range(3):
            moved[i] += w * (p[b, i] - p[v, i])
        for i in range(len(value)):
            value[i] += w * (m.wedge[after(k), i] - m.wedge[first, i])
        k = m.twin[before(k)]
        if k == first:
            return


@njit(cache=True, error_model="numpy")
def _update_attributes(m, v, yx, yy, yz, change):
    """Update the attributes of v by the weights, and its target within the range of its neighbours; change: [C + 1]."""
    p = m.position
    n_values = m.values.shape[1]
    change[:] = 0
    low = high = m.target[v]
    k = m.start[v]
    while True:
        b = m.corner[after(k)]
        w = yx * (p[b, 0] - p[v, 0]) + yy * (p[b, 1] - p[v, 1]) + yz * (p[b, 2] - p[v, 2])
        for i in range(n_values):
            change[i] += w * (m.values[b, i] - m.values[v, i])
        change[n_values] += w * (m.target[b] - m.target[v])
        low, high = min(low, m.target[b]), max(high, m.target[b])
        k = m.twin[before(k)]
        if k == m.start[v]:
            break
    for i in range(n_values):
        m.values[v, i] += change[i]
    m.target[v] = min(max(m.target[v] + change[n_values], low), high)


@njit(cache=True, error_model="numpy")
def _slide_free(m, v, strength, moved, value, change):
    """Move v over its faces; return whether it moved. moved: [3], value: [D], change: [C + 1] scratch."""
    sx, sy, sz, ok = _middle(m, v)
    if not ok or sx * sx + sy * sy + sz * sz < (LEAST_STEP * m.target[v]) ** 2:
        return False
    yx, yy, yz = _slope_of_weights(m, v, strength * sx, strength * sy, strength * sz)
    for _ in range(N_TRIES):
        _combine(m, v, yx, yy, yz, moved, value)
        if not _spoils(m, v, moved[0], moved[1], moved[2]) and not (
            len(value) >= 2 and _texture_spoils(m, m.start[v], value, True)
        ):
            _update_attributes(m, v, yx, yy, yz, change)
            for i in range(3):
                m.position[v, i] = moved[i]
            if len(value) > 0:
                assign_wedge(m, m.start[v], True, value)
            return True
        yx, yy, yz = 0.5 * yx, 0.5 * yy, 0.5 * yz
    return False


@njit(cache=True, error_model="numpy")
def _slide_along(m, v, first, strength, one, two):
    """Move v along its line of special edges, given its half-edge `first`; return whether it moved.

    one, two: [D] scratch.
    """
    p = m.position
    last = side_end(m, first)
    w, u = m.corner[after(first)], m.corner[before(last)]
    to_w, to_u = 0.0, 0.0
    for i in range(3):
        to_w += (p[w, i] - p[v, i]) ** 2
        to_u += (p[u, i] - p[v, i]) ** 2
    to_w, to_u = np.sqrt(to_w), np.sqrt(to_u)
    # The lengths should have the ratio of the targets.
    want_w, want_u = m.target[v] + m.target[w], m.target[v] + m.target[u]
    step = strength * (to_w - (to_w + to_u) * want_w / (want_w + want_u))
    if abs(step) < LEAST_STEP * m.target[v]:
        return False
    # The half-edges at v on the two sides of the edge towards `end`: on_left has the edge on its right.
    if step > 0:
        end, share = w, step / to_w
        on_left, on_right = first, after(m.twin[first]) if m.twin[first] >= 0 else -1
    else:
        end, share = u, -step / to_u
        on_left, on_right = m.twin[before(last)], last
    share = min(share, 1 - MARGIN)
    for _ in range(N_TRIES):
        x = p[v, 0] + share * (p[end, 0] - p[v, 0])
        y = p[v, 1] + share * (p[end, 1] - p[v, 1])
        z = p[v, 2] + share * (p[end, 2] - p[v, 2])
        spoils = _spoils(m, v, x, y, z)
        if len(one) > 0 and not spoils:
            for i in range(len(one)):
                if on_left >= 0:
                    one[i] = m.wedge[on_left, i] + share * (m.wedge[after(on_left), i] - m.wedge[on_left, i])
                if on_right >= 0:
                    two[i] = m.wedge[on_right, i] + share * (m.wedge[before(on_right), i] - m.wedge[on_right, i])
            if len(one) >= 2:
                # The other side, counter-clockwise, begins after the other edge of the line.
                right_first = m.twin[before(side_end(m, on_left))] if on_left >= 0 else m.start[v]
                spoils = on_left >= 0 and _texture_spoils(m, on_left, one, False)
                if on_right >= 0 and not spoils:
                    spoils = _texture_spoils(m, right_first, two, False)
        if not spoils:
            p[v, 0], p[v, 1], p[v, 2] = x, y, z
            for i in range(m.values.shape[1]):
                m.values[v, i] += share * (m.values[end, i] - m.values[v, i])
            m.target[v] += share * (m.target[end] - m.target[v])
            if len(one) > 0:
                if on_left >= 0:
                    assign_wedge(m, on_left, True, one)
                if on_right >= 0:
                    assign_wedge(m, on_right, False, two)
            return True
        share *= 0.5
    return False


@njit(cache=True)
def relax_vertices(m, strength, counts):
    """Move every FREE and CURVE vertex in turn."""
    one, two = np.empty(m.wedge.shape[1]), np.empty(m.wedge.shape[1])
    moved, change = np.empty(3), np.empty(m.values.shape[1] + 1)
    for v in range(m.used[0]):
        if m.start[v] >= 0:
            kind, first = classify_vertex(m, v, COS_CORNER)
            if kind == FREE:
                counts[MOVED] += _slide_free(m, v, strength, moved, one, change)
            elif kind == CURVE:
                counts[MOVED] += _slide_along(m, v, first, strength, one, two)
