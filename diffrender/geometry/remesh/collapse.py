"""Kernels: collapse edges that are too short to a vertex."""

from __future__ import annotations

import numpy as np
from numba import njit

from diffrender.geometry.remesh.constants import (
    COLLAPSED,
    COS_CORNER,
    REFUSED_FEATURE,
    REFUSED_LONG,
    REFUSED_SLIVER,
    REFUSED_TOPOLOGY,
    REFUSED_TURN,
    SLIVER,
)
from diffrender.geometry.remesh.halfedges import (
    CORNER,
    FREE,
    after,
    assign_wedge,
    before,
    classify_vertex,
    length_of,
    normal_at,
    normal_of,
    normals_around,
    quality_of,
    set_start,
    target_length_at,
    turns_too_far,
)

# Weight that puts the new vertex in the middle of the edge if nothing else decides; it equals that of faces inclined to
# the edge by 0.1 rad (6 degrees).
MIDDLE_WEIGHT = 0.01


@njit(cache=True, error_model="numpy")
def find_short_edges(m, low):
    """Return one half-edge per edge shorter than `low` times its target length, the shortest first."""
    n_halves = 3 * m.used[1]
    count = 0
    for h in range(n_halves):
        if m.corner[h] >= 0 and m.twin[h] < h and length_of(m, h) < low * target_length_at(m, h):
            count += 1
    found = np.empty(count, np.int64)
    ratio = np.empty(count)
    count = 0
    for h in range(n_halves):
        if m.corner[h] >= 0 and m.twin[h] < h and length_of(m, h) < low * target_length_at(m, h):
            found[count] = h
            ratio[count] = length_of(m, h) / target_length_at(m, h)
            count += 1
    return found[np.argsort(ratio, kind="mergesort")]


@njit(cache=True)
def _links_meet_once(m, h):
    """Return whether the link condition holds: the ends of the edge share only the third corners of its faces.

    The third corners must also keep at least three neighbours (two at the boundary), or two faces would coincide.
    """
    a, b, t = m.corner[h], m.corner[after(h)], m.twin[h]
    for k in (h, t):
        if k >= 0:
            c = m.corner[before(k)]
            is_open = m.twin[m.start[c]] < 0
            if m.valence[c] <= (2 if is_open else 3):
                return False
    m.used[2] += 1
    mark = m.used[2]
    k = m.start[a]
    while True:
        m.stamp[m.corner[after(k)]] = mark
        m.stamp[m.corner[before(k)]] = mark
        k = m.twin[before(k)]
        if k < 0 or k == m.start[a]:
            break
    shared = 0
    k = m.start[b]
    while True:
        shared += m.stamp[m.corner[after(k)]] == mark
        last = m.corner[before(k)]
        k = m.twin[before(k)]
        if k < 0:
            shared += m.stamp[last] == mark
            break
        if k == m.start[b]:
            break
    return shared == (1 if t < 0 else 2)


@njit(cache=True, error_model="numpy")
def _unevenness(m, v, ex, ey, ez):
    """Return the area-weighted sum of squared distances of v + e from the planes of the faces at v, and their area."""
    off, area = 0.0, 0.0
    k = m.start[v]
    while True:
        nx, ny, nz, _ = normal_at(m.position, v, m.corner[after(k)], m.corner[before(k)])
        double_area = np.sqrt(nx * nx + ny * ny + nz * nz)
        if double_area > 0:
            off += (nx * ex + ny * ey + nz * ez) ** 2 / double_area
            area += double_area
        k = m.twin[before(k)]
        if k < 0 or k == m.start[v]:
            return off, area


@njit(cache=True, error_model="numpy")
def _best_share(m, a, b):
    """Return the position on the edge a b (0..1) nearest to the planes of all faces at a and b."""
    ex = m.position[b, 0] - m.position[a, 0]
    ey = m.position[b, 1] - m.position[a, 1]
    ez = m.position[b, 2] - m.position[a, 2]
    off_a, area_a = _unevenness(m, a, ex, ey, ez)
    off_b, area_b = _unevenness(m, b, ex, ey, ez)
    middle = MIDDLE_WEIGHT * (area_a + area_b) * (ex * ex + ey * ey + ez * ez)
    total = off_a + off_b + middle
    return (off_b + 0.5 * middle) / total if total > 0 else 0.5


@njit(cache=True, error_model="numpy")
def _keeps_texture(m, k, value):
    """Return whether the face of k keeps its orientation in the texture if its corner at k gets `value`."""
    bx, by = m.wedge[after(k), 0], m.wedge[after(k), 1]
    cx, cy = m.wedge[before(k), 0], m.wedge[before(k), 1]
    ex, ey = cx - bx, cy - by
    old = ex * (m.wedge[k, 1] - by) - ey * (m.wedge[k, 0] - bx)
    return old == 0 or old * (ex * (value[1] - by) - ey * (value[0] - bx)) > 0


@njit(cache=True, error_model="numpy")
def _worst_around(m, v, other, x, y, z, target, high, around):
    """Return (refusal or 0, worst quality before, worst quality after) for the faces at v if v moves to x, y, z.

    The quality after ignores faces that also contain the vertex `other`. around: the sum of all normals at both.
    """
    p = m.position
    worst_now, worst_then = 1.0, 1.0
    k = m.start[v]
    while True:
        b, c = m.corner[after(k)], m.corner[before(k)]
        nx, ny, nz, size = normal_at(p, v, b, c)
        worst_now = min(worst_now, quality_of(nx, ny, nz, size))
        if b != other and c != other:
            mx, my, mz, size = normal_of(x, y, z, p[b, 0], p[b, 1], p[b, 2], p[c, 0], p[c, 1], p[c, 2])
            worst_then = min(worst_then, quality_of(mx, my, mz, size))
            if turns_too_far(nx, ny, nz, mx, my, mz, around[0], around[1], around[2]):
                return REFUSED_TURN, 0.0, 0.0
            for w in (b, c):
                then = (p[w, 0] - x) ** 2 + (p[w, 1] - y) ** 2 + (p[w, 2] - z) ** 2
                if then > (high * 0.5 * (target + m.target[w])) ** 2:
                    now = (p[w, 0] - p[v, 0]) ** 2 + (p[w, 1] - p[v, 1]) ** 2 + (p[w, 2] - p[v, 2]) ** 2
                    if then > now:
                        return REFUSED_LONG, 0.0, 0.0
        k = m.twin[before(k)]
        if k < 0 or k == m.start[v]:
            return 0, worst_now, worst_then


@njit(cache=True, error_model="numpy")
def _texture_stays(m, v, other, first_value, second_value, side):
    """Return whether all faces at v without `other` keep their orientation in the texture if the corners of v change.

    first_value: for the corners from the outgoing half-edge side[0] counter-clockwise up to a special edge;
    second_value: for those from side[1] clockwise; a side of -1 does not exist.
    """
    for i in range(2):
        k = side[i]
        first = k
        while k >= 0:
            value = first_value if i == 0 else second_value
            if m.corner[after(k)] != other and m.corner[before(k)] != other and not _keeps_texture(m, k, value):
                return False
            crossed = before(k) if i == 0 else k
            if m.kind[crossed] != 0:
                break
            k = m.twin[crossed] if i == 0 else after(m.twin[crossed])
            if k == first:
                break
    return True


@njit(cache=True)
def _weld(m, h, a):
    """Remove the face of h and merge its other two edges; return an outgoing half-edge of a.

    All corners at the other end of h must be those of a already.
    """
    middle, last = after(h), before(h)
    c = m.corner[last]
    s, t = m.twin[middle], m.twin[last]
    kind = m.kind[middle] | m.kind[last]
    for k, other in ((s, t), (t, s)):
        if k >= 0:
            m.twin[k] = other
            m.kind[k] = kind
    m.corner[h] = m.corner[middle] = m.corner[last] = -1
    m.valence[c] -= 1
    # s runs from c to a, t from a to c; at the boundary one of them is missing.
    set_start(m, c, s if s >= 0 else after(t))
    return t if t >= 0 else after(s)


@njit(cache=True)
def _merge(m, h, share, one, two):
    """Collapse the edge of h to its origin, moved to `share` (0..1) of the edge; one, two: new corner attributes."""
    a, b, t = m.corner[h], m.corner[after(h)], m.twin[h]
    for i in range(3):
        m.position[a, i] += share * (m.position[b, i] - m.position[a, i])
    for i in range(m.values.shape[1]):
        m.values[a, i] += share * (m.values[b, i] - m.values[a, i])
    m.target[a] += share * (m.target[b] - m.target[a])
    if m.wedge.shape[1] > 0:
        assign_wedge(m, h, True, one)
        assign_wedge(m, after(h), False, one)
        if t >= 0:
            assign_wedge(m, after(t), False, two)
            assign_wedge(m, t, True, two)
    m.valence[a] += m.valence[b] - (4 if t >= 0 else 3)
    k = m.start[b]
    while True:
        m.corner[k] = a
        k = m.twin[before(k)]
        if k < 0 or k == m.start[b]:
            break
    m.start[b] = -1
    outgoing = _weld(m, h, a)
    if t >= 0:
        outgoing = _weld(m, t, a)
    set_start(m, a, outgoing)


@njit(cache=True, error_model="numpy")
def _share_of_collapse(m, h):
    """Return the position of the new vertex on the edge of h (0..1), or -1 if it would move a line of special edges."""
    a, b = m.corner[h], m.corner[after(h)]
    at_a, at_b = classify_vertex(m, a, COS_CORNER)[0], classify_vertex(m, b, COS_CORNER)[0]
    if at_a == FREE and at_b == FREE:
        return _best_share(m, a, b)
    if at_a == FREE:
        return 1.0
    if at_b == FREE:
        return 0.0
    for k in (h, m.twin[h]):
        # Two lines would merge.
        if k >= 0 and m.kind[after(k)] != 0 and m.kind[before(k)] != 0:
            return -1.0
    if m.kind[h] == 0 or (at_a == CORNER and at_b == CORNER):
        return -1.0
    if at_a == CORNER:
        return 0.0
    if at_b == CORNER:
        return 1.0
    return _best_share(m, a, b)


@njit(cache=True, error_model="numpy")
def try_collapse(m, h, high, one, two):
    """Collapse the edge of h if valid; return COLLAPSED or the reason for refusal. one, two: [D] scratch."""
    if not _links_meet_once(m, h):
        return REFUSED_TOPOLOGY
    share = _share_of_collapse(m, h)
    if share < 0:
        return REFUSED_FEATURE
    a, b, t = m.corner[h], m.corner[after(h)], m.twin[h]
    x = m.position[a, 0] + share * (m.position[b, 0] - m.position[a, 0])
    y = m.position[a, 1] + share * (m.position[b, 1] - m.position[a, 1])
    z = m.position[a, 2] + share * (m.position[b, 2] - m.position[a, 2])
    target = m.target[a] + share * (m.target[b] - m.target[a])
    at_a, at_b = normals_around(m, a), normals_around(m, b)
    around = (at_a[0] + at_b[0], at_a[1] + at_b[1], at_a[2] + at_b[2])
    refusal, worst_a, then_a = _worst_around(m, a, b, x, y, z, target, high, around)
    if refusal:
        return refusal
    refusal, worst_b, then_b = _worst_around(m, b, a, x, y, z, target, high, around)
    if refusal:
        return refusal
    if min(then_a, then_b) < min(SLIVER, min(worst_a, worst_b)):
        return REFUSED_SLIVER
    for i in range(m.wedge.shape[1]):
        one[i] = m.wedge[h, i] + share * (m.wedge[after(h), i] - m.wedge[h, i])
        if t >= 0:
            two[i] = m.wedge[after(t), i] + share * (m.wedge[t, i] - m.wedge[after(t), i])
    if m.wedge.shape[1] >= 2:
        side_t = after(t) if t >= 0 else -1
        if not _texture_stays(m, a, b, one, two, (h, side_t)):
            return REFUSED_TURN
        if not _texture_stays(m, b, a, two, one, (t, after(h))):
            return REFUSED_TURN
    _merge(m, h, share, one, two)
    return COLLAPSED


@njit(cache=True)
def collapse_edges(m, edges, low, high, counts):
    """Collapse the edges of these half-edges that still exist and are still shorter than low times the target."""
    one, two = np.empty(m.wedge.shape[1]), np.empty(m.wedge.shape[1])
    for h in edges:
        if m.corner[h] >= 0 and length_of(m, h) < low * target_length_at(m, h):
            counts[try_collapse(m, h, high, one, two)] += 1
