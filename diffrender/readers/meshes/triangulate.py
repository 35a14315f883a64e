"""Cut polygons into triangles, concave ones by ear clipping."""

from __future__ import annotations

import numpy as np

# A corner that turns back by less than this, relative to the polygon's size squared, counts as straight.
STRAIGHT = 1e-12


def triangulate(corners: np.ndarray) -> list[tuple[int, int, int]]:
    """Return the triangles of a polygon in space, as indices of its corners [C, 3], C > 3, in its turning order.

    A convex polygon becomes a fan about its first corner. The plane is that of the polygon's mean normal (Newell).
    """
    fan = [(0, i, i + 1) for i in range(1, len(corners) - 1)]
    centered = corners - corners.mean(0)
    following = np.roll(centered, -1, 0)
    normal = np.cross(centered, following).sum(0)
    length = np.linalg.norm(normal)
    size = np.abs(centered).max(initial=0.0)
    if not (np.isfinite(length) and length > STRAIGHT * size**2):
        return fan
    turns = np.cross(following - centered, np.roll(following, -1, 0) - following) @ (normal / length)
    if (turns >= -STRAIGHT * size**2).all():
        return fan
    from mapbox_earcut import triangulate_float64

    # Coordinates in the plane, so that the polygon turns counter-clockwise.
    axis = np.eye(3)[np.abs(normal).argmin()]
    u = np.cross(axis, normal / length)
    u /= np.linalg.norm(u)
    v = np.cross(normal / length, u)
    flat = np.stack([centered @ u, centered @ v], 1)
    found = triangulate_float64(flat, np.array([len(flat)], dtype=np.uint32)).reshape(-1, 3)
    if len(found) == 0:
        return fan
    a, b, c = flat[found].transpose(1, 0, 2)
    is_turned = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0] < 0
    found = np.where(is_turned[:, None], found[:, ::-1], found)
    return [(int(i), int(j), int(k)) for i, j, k in found]
