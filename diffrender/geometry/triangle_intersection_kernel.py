"""Pairs of intersecting triangles (Numba, threaded). Arithmetic in float64.

All decisions use the signs of determinants of the corners themselves; no intersection point is computed, so nearly
parallel planes lose no precision. A sign that rounding could have changed counts as zero: as touching.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from diffrender.geometry.bvh import BVH, STACK
from diffrender.threads import parallel_for

# Minimum number of triangles per thread.
GRAIN = 512
# Error bounds of J. Shewchuk, "Adaptive precision floating-point arithmetic and fast robust geometric predicates"
# (1997): the sign of a determinant is certain if it exceeds (7 + 56 eps) eps, in 2D (3 + 16 eps) eps, times the sum of
# the absolute values of its terms.
ERROR_3D = 8 * 2.0**-53
ERROR_2D = 4 * 2.0**-53


@njit(nogil=True, cache=True)
def orient_3d(a, b, c, d):
    """Return 1 if d is on the side of the plane that sees a b c counter-clockwise, -1 on the other, 0 close to it."""
    bx, by, bz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    cx, cy, cz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    dx, dy, dz = d[0] - a[0], d[1] - a[1], d[2] - a[2]
    yz, zy, zx, xz, xy, yx = by * cz, bz * cy, bz * cx, bx * cz, bx * cy, by * cx
    det = (yz - zy) * dx + (zx - xz) * dy + (xy - yx) * dz
    size = (abs(yz) + abs(zy)) * abs(dx) + (abs(zx) + abs(xz)) * abs(dy) + (abs(xy) + abs(yx)) * abs(dz)
    return 1 if det > ERROR_3D * size else -1 if det < -ERROR_3D * size else 0


@njit(nogil=True, cache=True)
def orient_2d(a, b, c, u, v):
    """Return 1 if a b c are counter-clockwise in the coordinates u and v, -1 if clockwise, 0 if nearly collinear."""
    left = (b[u] - a[u]) * (c[v] - a[v])
    right = (b[v] - a[v]) * (c[u] - a[u])
    limit = ERROR_2D * (abs(left) + abs(right))
    return 1 if left - right > limit else -1 if left - right < -limit else 0


@njit(nogil=True, cache=True)
def find_lone_corner(s0, s1, s2):
    """Return the corner that a plane separates from the other two, given their sides; -1 if the plane only touches."""
    if s0 != 0 and s0 * s1 <= 0 and s0 * s2 <= 0:
        return 0
    if s1 != 0 and s1 * s0 <= 0 and s1 * s2 <= 0:
        return 1
    if s2 != 0 and s2 * s0 <= 0 and s2 * s1 <= 0:
        return 2
    return -1


@njit(nogil=True, cache=True)
def coplanar_overlap(p, q):
    """Return whether two coplanar triangles [3, 3] overlap in an area: no edge of either separates them."""
    # Project onto the coordinate plane in which the first one has the largest area.
    drop, largest = 2, -1.0
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        area = abs((p[1, u] - p[0, u]) * (p[2, v] - p[0, v]) - (p[1, v] - p[0, v]) * (p[2, u] - p[0, u]))
        if area > largest:
            drop, largest = axis, area
    u, v = (drop + 1) % 3, (drop + 2) % 3
    for k in range(2):
        one, other = (p, q) if k == 0 else (q, p)
        inward = orient_2d(one[0], one[1], one[2], u, v)
        for corner in range(3):
            a, b = one[corner], one[(corner + 1) % 3]
            reaches_in = False
            for c in range(3):
                if inward != 0 and orient_2d(a, b, other[c], u, v) == inward:
                    reaches_in = True
            if not reaches_in:
                return False
    return True


@njit(nogil=True, cache=True)
def triangles_cross(p, q):
    """Return whether two triangles [3, 3] share more than a point, an edge, or parts of their edges.

    The plane of each must separate the corners of the other, and the intervals of the planes' common line inside each
    must overlap. Corners that the triangles share are exactly on the plane.
    Source: P. Guigue, O. Devillers, "Fast and robust triangle-triangle overlap test using orientation predicates"
    (2003), section 3.
    """
    s0, s1, s2 = orient_3d(q[0], q[1], q[2], p[0]), orient_3d(q[0], q[1], q[2], p[1]), orient_3d(q[0], q[1], q[2], p[2])
    if (s0 > 0 and s1 > 0 and s2 > 0) or (s0 < 0 and s1 < 0 and s2 < 0):
        return False
    t0, t1, t2 = orient_3d(p[0], p[1], p[2], q[0]), orient_3d(p[0], p[1], p[2], q[1]), orient_3d(p[0], p[1], p[2], q[2])
    if (s0 == 0 and s1 == 0 and s2 == 0) or (t0 == 0 and t1 == 0 and t2 == 0):
        return coplanar_overlap(p, q)
    first, second = find_lone_corner(s0, s1, s2), find_lone_corner(t0, t1, t2)
    if first < 0 or second < 0:
        return False
    n_touching = (s0 == 0) + (s1 == 0) + (s2 == 0)
    if n_touching == 2 and (t0 == 0) + (t1 == 0) + (t2 == 0) == 2:
        return False  # an edge against an edge
    p1, p2, p3 = p[first], p[(first + 1) % 3], p[(first + 2) % 3]
    q1, q2, q3 = q[second], q[(second + 1) % 3], q[(second + 2) % 3]
    # The lone corners must be on the positive sides: flipping one triangle changes the side of the other's lone corner.
    if (s0, s1, s2)[first] < 0:
        q2, q3 = q3, q2
    if (t0, t1, t2)[second] < 0:
        p2, p3 = p3, p2
    return orient_3d(p1, p2, q1, q2) < 0 and orient_3d(p1, p3, q3, q1) < 0


@njit(nogil=True, cache=True)
def find_crossings(start, end, corners, face, low, high, first, fill, out):
    """Count (fill = False, in `first`) or write (from `first` on) the later triangles that start..end-1 cross.

    "Later" refers to the order of the triangles in the tree.
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
                if not apart and triangles_cross(corners[s], corners[other]):
                    if fill:
                        out[first[s] + found, 0] = min(face[s], face[other])
                        out[first[s] + found, 1] = max(face[s], face[other])
                    found += 1
        if not fill:
            first[s] = found


def find_crossing_pairs(tree: BVH) -> np.ndarray:
    """Return the pairs of faces [K, 2] int64 that cross, lower face first, sorted."""
    n_faces = len(tree.face)
    count = np.zeros(n_faces + 1, np.int64)
    parallel_for(find_crossings, n_faces, GRAIN, *tree, count, False, np.empty((0, 2), np.int64))
    first = np.cumsum(count) - count
    pairs = np.empty((int(count.sum()), 2), np.int64)
    if len(pairs):
        parallel_for(find_crossings, n_faces, GRAIN, *tree, first, True, pairs)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
