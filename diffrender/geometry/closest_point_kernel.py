"""Closest points on a triangle mesh (Numba, threaded). Arithmetic in float64."""

from __future__ import annotations

import numpy as np
from numba import njit

from diffrender.geometry.bvh import BVH, STACK, curve_order
from diffrender.threads import parallel_for

# Minimum number of points per thread: a millisecond of work.
GRAIN = 512
# If the squared sine of a corner's angle is below this, barycentrics lose more than half of their digits.
NEEDLE = 1e-8


@njit(nogil=True, cache=True, inline="always")
def dot(ax, ay, az, bx, by, bz):
    """Return the dot product."""
    return ax * bx + ay * by + az * bz


@njit(nogil=True, cache=True, error_model="numpy")
def closest_on_segment(px, py, pz, a, b):
    """Return (x, y, z, squared distance) of the closest point on the segment from a to b."""
    dx, dy, dz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    length2 = dot(dx, dy, dz, dx, dy, dz)
    t = dot(px - a[0], py - a[1], pz - a[2], dx, dy, dz) / length2 if length2 > 0 else 0.0
    t = min(max(t, 0.0), 1.0)
    x, y, z = a[0] + t * dx, a[1] + t * dy, a[2] + t * dz
    return x, y, z, dot(px - x, py - y, pz - z, px - x, py - y, pz - z)


@njit(nogil=True, cache=True, error_model="numpy")
def closest_on_triangle(px, py, pz, triangle):
    """Return (x, y, z, squared distance) of the closest point on a triangle [3, 3], which may be degenerate.

    Decided by the Voronoi region of p: that of a corner, an edge or the interior.
    Source: C. Ericson, "Real-time collision detection" (2004), section 5.1.5.
    """
    a, b, c = triangle[0], triangle[1], triangle[2]
    abx, aby, abz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    acx, acy, acz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    d1 = dot(abx, aby, abz, px - a[0], py - a[1], pz - a[2])
    d2 = dot(acx, acy, acz, px - a[0], py - a[1], pz - a[2])
    d3 = dot(abx, aby, abz, px - b[0], py - b[1], pz - b[2])
    d4 = dot(acx, acy, acz, px - b[0], py - b[1], pz - b[2])
    d5 = dot(abx, aby, abz, px - c[0], py - c[1], pz - c[2])
    d6 = dot(acx, acy, acz, px - c[0], py - c[1], pz - c[2])
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    total = va + vb + vc
    ab2, ac2 = dot(abx, aby, abz, abx, aby, abz), dot(acx, acy, acz, acx, acy, acz)
    if not total > NEEDLE * ab2 * ac2:
        # A needle: every point of it is near an edge.
        best = closest_on_segment(px, py, pz, a, b)
        for other in (closest_on_segment(px, py, pz, b, c), closest_on_segment(px, py, pz, c, a)):
            if other[3] < best[3]:
                best = other
        return best
    if d1 <= 0 and d2 <= 0:
        v, w = 0.0, 0.0
    elif d3 >= 0 and d4 <= d3:
        v, w = 1.0, 0.0
    elif d6 >= 0 and d5 <= d6:
        v, w = 0.0, 1.0
    elif vc <= 0 and d1 >= 0 and d3 <= 0:
        v, w = d1 / (d1 - d3), 0.0
    elif vb <= 0 and d2 >= 0 and d6 <= 0:
        v, w = 0.0, d2 / (d2 - d6)
    elif va <= 0 and d4 - d3 >= 0 and d5 - d6 >= 0:
        w = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        v = 1 - w
    else:
        v, w = vb / total, vc / total
    x = a[0] + (v * abx + w * acx)
    y = a[1] + (v * aby + w * acy)
    z = a[2] + (v * abz + w * acz)
    return x, y, z, dot(px - x, py - y, pz - z, px - x, py - y, pz - z)


@njit(nogil=True, cache=True, inline="always")
def box_distance2(low, high, node, px, py, pz):
    """Return the squared distance of a point to the box of a node; 0 inside."""
    dx = max(low[node, 0] - px, px - high[node, 0], 0.0)
    dy = max(low[node, 1] - py, py - high[node, 1], 0.0)
    dz = max(low[node, 2] - pz, pz - high[node, 2], 0.0)
    return dx * dx + dy * dy + dz * dz


@njit(nogil=True, cache=True, error_model="numpy")
def find_closest(start, end, points, order, corners, face, low, high, out_point, out_face, out_distance):
    """Find the closest points for order[start:end]: visit the nearer child first, skip boxes farther than the best."""
    n_leaves, n_faces = len(low) // 2, len(corners)
    stack, stack_distance2 = np.empty(STACK, np.int64), np.empty(STACK)
    for q in range(start, end):
        p = order[q]
        px, py, pz = points[p, 0], points[p, 1], points[p, 2]
        best, best_face = np.inf, np.int64(-1)
        stack[0], stack_distance2[0] = 1, box_distance2(low, high, 1, px, py, pz)
        n = 1
        while n > 0:
            n -= 1
            node = stack[n]
            # Equally distant boxes are visited too: of several closest faces the lowest wins, whatever the order.
            if stack_distance2[n] > best:
                continue
            if node < n_leaves:
                near, far = 2 * node, 2 * node + 1
                near2, far2 = box_distance2(low, high, near, px, py, pz), box_distance2(low, high, far, px, py, pz)
                if far2 < near2:
                    near, far, near2, far2 = far, near, far2, near2
                if far2 <= best:
                    stack[n], stack_distance2[n] = far, far2
                    n += 1
                if near2 <= best:
                    stack[n], stack_distance2[n] = near, near2
                    n += 1
                continue
            leaf = node - n_leaves
            for s in range(leaf * n_faces // n_leaves, (leaf + 1) * n_faces // n_leaves):
                x, y, z, distance2 = closest_on_triangle(px, py, pz, corners[s])
                if distance2 < best or (distance2 == best and face[s] < best_face):
                    best, best_face = distance2, face[s]
                    out_point[p, 0], out_point[p, 1], out_point[p, 2] = x, y, z
        out_face[p] = best_face
        out_distance[p] = np.sqrt(best)


def closest_points(tree: BVH, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the closest points [P, 3] to finite `points` [P, 3] float64, their faces [P] int64, and distances [P]."""
    point, face, distance = np.empty_like(points), np.empty(len(points), np.int64), np.empty(len(points))
    if len(points):
        # Consecutive neighbours traverse the same boxes, which are then cached.
        order = np.argsort(curve_order(points), kind="stable")
        parallel_for(find_closest, len(points), GRAIN, points, order, *tree, point, face, distance)
    return point, face, distance
