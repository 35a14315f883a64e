"""Half-edge arrays that the remeshing kernels edit, and traversals around a vertex. Arithmetic in float64."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from diffrender.geometry.remesh.constants import COS_TURN

# Kinds of special edges, as bits; ordinary edges have none.
BOUNDARY, SEAM, FEATURE = 1, 2, 4
# Classes of vertices: on no special edge, on a line of them, or where lines end, meet or turn.
FREE, CURVE, CORNER = 0, 1, 2


class HalfEdges(NamedTuple):
    """A growable triangle mesh. Half-edge h = 3 f + c runs from corner c of face f to the next corner.

    corner: [3 Fmax] int64; the origin vertex of half-edge h; -1 in a removed face.
    twin: [3 Fmax] int64; the half-edge of the other face of that edge; -1 at the boundary.
    kind: [3 Fmax] uint8; bits BOUNDARY, SEAM, FEATURE; the same on both sides of an edge.
    wedge: [3 Fmax, D]; corner attributes.
    start: [Vmax] int64; an outgoing half-edge, at the boundary the one without twin; -1 if removed.
    valence: [Vmax] int64; the number of neighbours.
    position: [Vmax, 3]. values: [Vmax, C]; vertex attributes. target: [Vmax]; target edge length.
    stamp: [Vmax] int64; scratch: the neighbours of one vertex are marked with an unused number.
    used: [3] int64; vertices in use (removed ones too), faces in use (removed ones too), the last stamp.
    """

    corner: np.ndarray
    twin: np.ndarray
    kind: np.ndarray
    wedge: np.ndarray
    start: np.ndarray
    valence: np.ndarray
    position: np.ndarray
    values: np.ndarray
    target: np.ndarray
    stamp: np.ndarray
    used: np.ndarray


@njit(cache=True)
def after(h):
    """Return the next half-edge of the same face."""
    return h + 1 if h % 3 < 2 else h - 2


@njit(cache=True)
def before(h):
    """Return the previous half-edge of the same face."""
    return h - 1 if h % 3 > 0 else h + 2


@njit(cache=True, error_model="numpy")
def length_of(m, h):
    """Return the length of the edge of half-edge h."""
    a, b = m.corner[h], m.corner[after(h)]
    x = m.position[b, 0] - m.position[a, 0]
    y = m.position[b, 1] - m.position[a, 1]
    z = m.position[b, 2] - m.position[a, 2]
    return np.sqrt(x * x + y * y + z * z)


@njit(cache=True, error_model="numpy")
def target_length_at(m, h):
    """Return the mean of the target lengths at the two ends of half-edge h."""
    return 0.5 * (m.target[m.corner[h]] + m.target[m.corner[after(h)]])


@njit(cache=True, error_model="numpy")
def normal_of(ax, ay, az, bx, by, bz, cx, cy, cz):
    """Return the normal (x, y, z) of triangle a b c, of length twice the area, and the sum of its squared sides."""
    ux, uy, uz = bx - ax, by - ay, bz - az
    vx, vy, vz = cx - ax, cy - ay, cz - az
    wx, wy, wz = cx - bx, cy - by, cz - bz
    size = ux * ux + uy * uy + uz * uz + vx * vx + vy * vy + vz * vz + wx * wx + wy * wy + wz * wz
    return uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx, size


@njit(cache=True, error_model="numpy")
def normal_at(p, a, b, c):
    """Return `normal_of` the triangle of vertices a b c with positions p."""
    return normal_of(p[a, 0], p[a, 1], p[a, 2], p[b, 0], p[b, 1], p[b, 2], p[c, 0], p[c, 1], p[c, 2])


@njit(cache=True, error_model="numpy")
def quality_of(nx, ny, nz, size):
    """Return 4 sqrt(3) area / sum of squared sides: 1 for an equilateral triangle, 0 for a degenerate one."""
    return 2 * np.sqrt(3.0) * np.sqrt(nx * nx + ny * ny + nz * nz) / size if size > 0 else 0.0


@njit(cache=True, error_model="numpy")
def normals_around(m, v):
    """Return (x, y, z, size): the sum of the normals of the faces at v, and the sum of their lengths."""
    x, y, z, size = 0.0, 0.0, 0.0, 0.0
    k = m.start[v]
    while True:
        nx, ny, nz, _ = normal_at(m.position, v, m.corner[after(k)], m.corner[before(k)])
        x, y, z, size = x + nx, y + ny, z + nz, size + np.sqrt(nx * nx + ny * ny + nz * nz)
        k = m.twin[before(k)]
        if k < 0 or k == m.start[v]:
            return x, y, z, size


@njit(cache=True, error_model="numpy")
def turns_too_far(ox, oy, oz, nx, ny, nz, rx, ry, rz):
    """Return whether a face turns too far if its normal changes from o to n; r: the sum of the normals around.

    A face without area may turn anywhere, and a folded face, whose normal points against r, may turn towards r.
    """
    old, new = ox * ox + oy * oy + oz * oz, nx * nx + ny * ny + nz * nz
    if old == 0 or ox * nx + oy * ny + oz * nz > COS_TURN * np.sqrt(old * new):
        return False
    around = rx * rx + ry * ry + rz * rz
    return not (ox * rx + oy * ry + oz * rz < 0 and nx * rx + ny * ry + nz * rz > COS_TURN * np.sqrt(new * around))


@njit(cache=True)
def set_start(m, v, h):
    """Make the outgoing half-edge h the start of v; at the boundary the one without twin instead."""
    k = h
    while True:
        t = m.twin[k]
        if t < 0:
            break
        k = after(t)
        if k == h:
            break
    m.start[v] = k


@njit(cache=True)
def are_neighbours(m, v, w):
    """Return whether an edge joins vertices v and w."""
    first = m.start[v]
    k = first
    while True:
        if m.corner[after(k)] == w or m.corner[before(k)] == w:
            return True
        k = m.twin[before(k)]
        if k < 0 or k == first:
            return False


@njit(cache=True)
def assign_wedge(m, h, counterclockwise, value):
    """Write `value` to the corners at the origin of h: from the face of h up to a special edge or back to h."""
    k = h
    while True:
        for i in range(len(value)):
            m.wedge[k, i] = value[i]
        crossed = before(k) if counterclockwise else k
        if m.kind[crossed] != 0:
            return
        k = m.twin[crossed] if counterclockwise else after(m.twin[crossed])
        if k == h:
            return


@njit(cache=True)
def side_end(m, h):
    """Return the last half-edge counter-clockwise from h around its origin before a special edge is crossed."""
    k = h
    while m.kind[before(k)] == 0:
        k = m.twin[before(k)]
        if k == h:
            break
    return k


@njit(cache=True, error_model="numpy")
def _wedge_turns(m, first, last, cos_corner):
    """Return whether the line of special edges turns in the texture of one side; last = side_end(m, first)."""
    ux = m.wedge[first, 0] - m.wedge[before(last), 0]
    uy = m.wedge[first, 1] - m.wedge[before(last), 1]
    wx = m.wedge[after(first), 0] - m.wedge[first, 0]
    wy = m.wedge[after(first), 1] - m.wedge[first, 1]
    return ux * wx + uy * wy < cos_corner * np.sqrt((ux * ux + uy * uy) * (wx * wx + wy * wy))


@njit(cache=True, error_model="numpy")
def classify_vertex(m, v, cos_corner):
    """Return (FREE, CURVE or CORNER, an outgoing half-edge of v on a special edge or -1).

    At a CURVE vertex, a line of special edges passes: two edges of the same kinds that turn, in space and in the
    texture of either side, by less than the angle whose cosine is cos_corner.
    """
    start = m.start[v]
    count, first = 0, -1
    k = start
    while True:
        if m.kind[k] != 0:
            count += 1
            if first < 0:
                first = k
        following = m.twin[before(k)]
        if following < 0:
            count += 1
            break
        if following == start:
            break
        k = following
    if count == 0:
        return FREE, -1
    if count != 2:
        return CORNER, first
    last = side_end(m, first)
    if m.kind[before(last)] != m.kind[first]:
        return CORNER, first
    u, w = m.corner[before(last)], m.corner[after(first)]
    dot, uu, ww = 0.0, 0.0, 0.0
    for i in range(3):
        x, y = m.position[v, i] - m.position[u, i], m.position[w, i] - m.position[v, i]
        dot, uu, ww = dot + x * y, uu + x * x, ww + y * y
    if dot < cos_corner * np.sqrt(uu * ww):
        return CORNER, first
    if m.wedge.shape[1] >= 2 and m.kind[first] & (BOUNDARY | SEAM):
        if _wedge_turns(m, first, last, cos_corner):
            return CORNER, first
        second = m.twin[before(last)]
        if second >= 0 and _wedge_turns(m, second, side_end(m, second), cos_corner):
            return CORNER, first
    return CURVE, first
