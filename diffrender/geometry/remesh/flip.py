"""Kernels: flip edges, towards six neighbours per vertex and better faces."""

from __future__ import annotations

import numpy as np
from numba import njit

from diffrender.geometry.remesh.constants import (
    COS_TURN,
    FLIPPED,
    REFUSED_FEATURE,
    REFUSED_SLIVER,
    REFUSED_TOPOLOGY,
    REFUSED_TURN,
    SLIVER,
)
from diffrender.geometry.remesh.halfedges import (
    after,
    are_neighbours,
    before,
    normal_at,
    normals_around,
    quality_of,
    turns_too_far,
)

# A flip that does not improve valences must improve the quality of the worse face, below SLIVER, by this factor.
LEAST_GAIN = 1.5


@njit(cache=True)
def _excess(m, v):
    """Return the valence of v minus the ideal one: 6 inside, 4 at the boundary."""
    return m.valence[v] - (4 if m.twin[m.start[v]] < 0 else 6)


@njit(cache=True)
def _flip(m, h):
    """Flip the edge of h.

       c                  c        Each face keeps the half-edge opposite to it: b c in the face of h, a d in
      / \\                /|\\      that of its twin t; h becomes d b, t becomes c a, the ones before them are
     /   \\              / | \\     the new edge.
    a --> b     ->     a  |  b
     \\   /              \\ | /
      \\ /                \\|/
       d                  d
    """
    t = m.twin[h]
    from_c, from_d = before(h), before(t)
    a, b, c, d = m.corner[h], m.corner[t], m.corner[from_c], m.corner[from_d]
    outer_c, outer_d, kind_c, kind_d = m.twin[from_c], m.twin[from_d], m.kind[from_c], m.kind[from_d]
    if m.start[a] == h:
        m.start[a] = after(t)
    if m.start[b] == t:
        m.start[b] = after(h)
    if m.start[c] == from_c:
        m.start[c] = t
    if m.start[d] == from_d:
        m.start[d] = h
    m.corner[h], m.corner[t], m.corner[from_c], m.corner[from_d] = d, c, c, d
    m.kind[h], m.kind[t], m.kind[from_c], m.kind[from_d] = kind_d, kind_c, 0, 0
    m.twin[h], m.twin[t], m.twin[from_c], m.twin[from_d] = outer_d, outer_c, from_d, from_c
    if outer_d >= 0:
        m.twin[outer_d] = h
    if outer_c >= 0:
        m.twin[outer_c] = t
    for i in range(m.wedge.shape[1]):
        m.wedge[h, i], m.wedge[t, i] = m.wedge[from_d, i], m.wedge[from_c, i]
    m.valence[a] -= 1
    m.valence[b] -= 1
    m.valence[c] += 1
    m.valence[d] += 1


@njit(cache=True, error_model="numpy")
def _texture_stays(m, a, b, c, d):
    """Return whether the new faces d b c and c a d are oriented in the texture as the old ones; a, b, c, d: corners."""
    w = m.wedge
    n_sides = 0
    for p, q, r in ((a, b, c), (b, a, d), (d, b, c), (c, a, d)):
        area = (w[q, 0] - w[p, 0]) * (w[r, 1] - w[p, 1]) - (w[q, 1] - w[p, 1]) * (w[r, 0] - w[p, 0])
        n_sides += 1 if area > 0 else (-1 if area < 0 else 0)
    return n_sides == 4 or n_sides == -4 or n_sides == 0


@njit(cache=True, error_model="numpy")
def try_flip(m, h, cos_feature):
    """Flip the edge of h if that helps and is valid; return FLIPPED, the reason for refusal, or -1 if it is no help."""
    t = m.twin[h]
    if t < 0:
        return -1
    p = m.position
    a, b, c, d = m.corner[h], m.corner[t], m.corner[before(h)], m.corner[before(t)]
    fx, fy, fz, f_size = normal_at(p, a, b, c)
    gx, gy, gz, g_size = normal_at(p, b, a, d)
    now = min(quality_of(fx, fy, fz, f_size), quality_of(gx, gy, gz, g_size))
    if fx * gx + fy * gy + fz * gz < 0:
        now = 0.0  # folded is as bad as flat
    ea, eb, ec, ed = _excess(m, a), _excess(m, b), _excess(m, c), _excess(m, d)
    # The sum of squared excesses changes by (e - 1)^2 - e^2 at a and b and by (e + 1)^2 - e^2 at c and d.
    evens = ec + ed - ea - eb + 2 < 0
    if not evens and now >= SLIVER:
        return -1
    mx, my, mz, m_size = normal_at(p, d, b, c)
    nx, ny, nz, n_size = normal_at(p, c, a, d)
    then = min(quality_of(mx, my, mz, m_size), quality_of(nx, ny, nz, n_size))
    if not evens and then < max(LEAST_GAIN * now, SLIVER):
        return -1
    if m.kind[h] != 0:
        return REFUSED_FEATURE
    if (evens and then < min(SLIVER, now)) or then == 0:
        return REFUSED_SLIVER
    rx, ry, rz = 0.0, 0.0, 0.0
    for v in (a, b, c, d):
        x, y, z, _ = normals_around(m, v)
        rx, ry, rz = rx + x, ry + y, rz + z
    if turns_too_far(fx, fy, fz, mx, my, mz, rx, ry, rz) or turns_too_far(fx, fy, fz, nx, ny, nz, rx, ry, rz):
        return REFUSED_TURN
    if turns_too_far(gx, gy, gz, mx, my, mz, rx, ry, rz) or turns_too_far(gx, gy, gz, nx, ny, nz, rx, ry, rz):
        return REFUSED_TURN
    # The new edge must not be a crease.
    m_len, n_len = np.sqrt(mx * mx + my * my + mz * mz), np.sqrt(nx * nx + ny * ny + nz * nz)
    if mx * nx + my * ny + mz * nz < max(cos_feature, COS_TURN) * m_len * n_len:
        return REFUSED_TURN
    # This also covers a or b being left with two neighbours: then the third joins c and d.
    if are_neighbours(m, c, d):
        return REFUSED_TOPOLOGY
    if m.wedge.shape[1] >= 2 and not _texture_stays(m, h, t, before(h), before(t)):
        return REFUSED_TURN
    _flip(m, h)
    return FLIPPED


@njit(cache=True)
def flip_edges(m, cos_feature, counts):
    """Try every edge once, in order; return the number of flips."""
    flipped = 0
    for h in range(3 * m.used[1]):
        if m.corner[h] >= 0 and m.twin[h] < h:
            outcome = try_flip(m, h, cos_feature)
            if outcome >= 0:
                counts[outcome] += 1
                flipped += outcome == FLIPPED
    return flipped
