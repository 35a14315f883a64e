"""Pairs of triangles that cross one another (Numba, threaded). Arithmetic in float64.

Everything is decided by the signs of determinants of the corners themselves; no point of intersection is computed, so
nothing is lost where planes are nearly parallel. A sign that rounding could have turned counts as zero: as touching.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from diffrender.geometry.bvh import BVH, STACK
from diffrender.threads import parallel_for

# Triangles handed to a thread at a time, at least.
GRAIN = 512
# Shewchuk (1997), "Adaptive precision floating-point arithmetic and fast robust geometric predicates": a determinant
# that is larger than (7 + 56 eps) eps, in 2D (3 + 16 eps) eps, of the sum of its terms' absolute values has its sign.
ERROR_3D = 8 * 2.0**-53
ERROR_2D = 4 * 2.0**-53


@njit(nogil=True, cache=True)
def side(a, b, c, d):
    """1 where d is on the side of the plane a b c that sees them counter-clockwise, -1 on the other, 0 close to it."""
    bx, by, bz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    cx, cy, cz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    dx, dy, dz = d[0] - a[0], d[1] - a[1], d[2] - a[2]
    yz, zy, zx, xz, xy, yx = by * cz, bz * cy, bz * cx, bx * cz, bx * cy, by * cx
    det = (yz - zy) * dx + (zx - xz) * dy + (xy - yx) * dz
    size = (abs(yz) + abs(zy)) * abs(dx) + (abs(zx) + abs(xz)) * abs(dy) + (abs(xy) + abs(yx)) * abs(dz)
    return 1 if det > ERROR_3D * size else -1 if det < -ERROR_3D * size else 0


@njit(nogil=True, cache=True)
def turn(a, b, c, u, v):
    """1 where a b c turn counter-clockwise in the plane of the coordinates u and v, -1 clockwise, 0 nearly straight."""
    left = (b[u] - a[u]) * (c[v] - a[v])
    right = (b[v] - a[v]) * (c[u] - a[u])
    limit = ERROR_2D * (abs(left) + abs(right))
    return 1 if left - right > limit else -1 if left - right < -limit else 0


@njit(nogil=True, cache=True)
def alone(s0, s1, s2):
    """Which corner a plane parts from the other two, by their sides; -1 where it touches at most one corner."""
    if s0 != 0 and s0 * s1 <= 0 and s0 * s2 <= 0:
        return 0
    if s1 != 0 and s1 * s0 <= 0 and s1 * s2 <= 0:
        return 1
    if s2 != 0 and s2 * s0 <= 0 and s2 * s1 <= 0:
        return 2
    return -1


@njit(nogil=True, cache=True)
def overlaps_flat(p, q):
    """Whether two triangles [3, 3] in one plane have an area in common: no edge of either parts them."""
    # Onto the coordinate plane that sees the first one largest.
    drop, largest = 2, -1.0
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        area = abs((p[1, u] - p[0, u]) * (p[2, v] - p[0, v]) - (p[1, v] - p[0, v]) * (p[2, u] - p[0, u]))
        if area > largest:
            drop, largest = axis, area
    u, v = (drop + 1) % 3, (drop + 2) % 3
    for k in range(2):
        one, other = (p, q) if k == 0 else (q, p)
        inward = turn(one[0], one[1], one[2], u, v)
        for corner in range(3):
            a, b = one[corner], one[(corner + 1) % 3]
            reaches_in = False
            for c in range(3):
                if inward != 0 and turn(a, b, other[c], u, v) == inward:
                    reaches_in = True
            if not reaches_in:
                return False
    return True


@njit(nogil=True, cache=True)
def cross(p, q):
    """Whether two triangles [3, 3] have more in common than a point, an edge, or parts of their edges.

    Each must be parted by the plane of the other, and the pieces of the planes' common line inside each must overlap
    (Guigue and Devillers 2003, section 3). Corners that the triangles share are on the plane, exactly.
    """
    s0, s1, s2 = side(q[0], q[1], q[2], p[0]), side(q[0], q[1], q[2], p[1]), side(q[0], q[1], q[2], p[2])
    if (s0 > 0 and s1 > 0 and s2 > 0) or (s0 < 0 and s1 < 0 and s2 < 0):
        return False
    t0, t1, t2 = side(p[0], p[1], p[2], q[0]), side(p[0], p[1], p[2], q[1]), side(p[0], p[1], p[2], q[2])
    if (s0 == 0 and s1 == 0 and s2 == 0) or (t0 == 0 and t1 == 0 and t2 == 0):
        return overlaps_flat(p, q)
    first, second = alone(s0, s1, s2), alone(t0, t1, t2)
    if first < 0 or second < 0:
        return False
    n_touching = (s0 == 0) + (s1 == 0) + (s2 == 0)
    if n_touching == 2 and (t0 == 0) + (t1 == 0) + (t2 == 0) == 2:
        return False  # an edge against an edge
    p1, p2, p3 = p[first], p[(first + 1) % 3], p[(first + 2) % 3]
    q1, q2, q3 = q[second], q[(second + 1) % 3], q[(second + 2) % 3]
    # The corners that are alone are to be on the positive sides: turning one triangle round moves the other's corner.
    if (s0, s1, s2)[first] < 0:
        q2, q3 = q3, q2
    if (t0, t1, t2)[second] < 0:
        p2, p3 = p3, p2
    return side(p1, p2, q1, q2) < 0 and side(p1, p3, q3, q1) < 0


@njit(nogil=True, cache=True)
def find_crossings(start, end, corners, face, low, high, first, fill, out):
    """Count (fill = False, into first) or write (from first on) the later triangles that each of start..end-1 crosses.

    Earlier and later are places in the tree's order.
    """
    n_leaves, n_faces = len(low) // 2, len(corners)
    stack = np.empty(STACK, np.int64)
    box_low, box_high = np.empty(3), np.empty(3)
    for s in range(start, end):
        if fill and first[s] == first[s + 1]:
            continue
        for axis in range(3):
            box_low[axis] = min(corners[s, 0, axis], corners[s, 1, axis], corners[s, 2, axis])
            box_high[axis] = max(corners[s, 0, axis], corners[s, 1, axis], corners[s, 2, axis])
        found = 0
        stack[0] = 1
        n = 1
        while n > 0:
            n -= 1
            node = stack[n]
            apart = False
            for axis in range(3):
                apart |= low[node, axis] > box_high[axis] or high[node, axis] < box_low[axis]
            if apart:
                continue
            if node < n_leaves:
                # The right child holds the later triangles.
                stack[n], stack[n + 1] = 2 * node + 1, 2 * node
                n += 2
                continue
            leaf = node - n_leaves
            for other in range(max(s + 1, leaf * n_faces // n_leaves), (leaf + 1) * n_faces // n_leaves):
                apart = False
                for axis in range(3):
                    a, b, c = corners[other, 0, axis], corners[other, 1, axis], corners[other, 2, axis]
                    apart |= min(a, b, c) > box_high[axis] or max(a, b, c) < box_low[axis]
                if not apart and cross(corners[s], corners[other]):
                    if fill:
                        out[first[s] + found, 0] = min(face[s], face[other])
                        out[first[s] + found, 1] = max(face[s], face[other])
                    found += 1
        if not fill:
            first[s] = found


def find_crossing_pairs(tree: BVH) -> np.ndarray:
    """[K, 2] int64: the pairs of faces that cross, lower face first, sorted."""
    n_faces = len(tree.face)
    count = np.zeros(n_faces + 1, np.int64)
    parallel_for(find_crossings, n_faces, GRAIN, *tree, count, False, np.empty((0, 2), np.int64))
    first = np.cumsum(count) - count
    pairs = np.empty((int(count.sum()), 2), np.int64)
    if len(pairs):
        parallel_for(find_crossings, n_faces, GRAIN, *tree, first, True, pairs)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
