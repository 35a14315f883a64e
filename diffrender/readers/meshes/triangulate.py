"""Cut polygons into triangles, concave ones by ear clipping."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

# A corner that turns back by less than this, relative to the polygon's size squared, counts as straight.
STRAIGHT = 1e-12


def cut_polygons(positions: np.ndarray, corners: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return triangles [T, 3] as indices into `corners`, in the order of the polygons, and the polygon [T] of each.

    positions: [P, 3]. corners: [C] indices of positions, those of all polygons joined. sizes: [N] corners of each
    polygon; those with fewer than three are skipped. A convex polygon becomes a fan about its first corner.
    """
    starts = sizes.cumsum() - sizes
    triangles, owners = [np.zeros((0, 3), np.int64)], [np.zeros(0, np.int64)]
    for size in np.unique(sizes[sizes >= 3]).tolist():
        polygons = np.flatnonzero(sizes == size)
        fan = np.array([(0, i, i + 1) for i in range(1, size - 1)])
        if size > 3:
            points = positions[corners[starts[polygons, None] + np.arange(size)]]
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # such positions are refused later
                centered = points - points.mean(1, keepdims=True)
                normal = np.cross(centered, np.roll(centered, -1, 1)).sum(1)
                is_concave = _is_concave(centered, normal)
            for i in np.flatnonzero(is_concave):
                ears = _clip_ears(centered[i], normal[i])
                triangles.append(starts[polygons[i]] + (ears if len(ears) else fan))
                owners.append(np.full(len(triangles[-1]), polygons[i]))
            polygons = polygons[~is_concave]
        triangles.append((starts[polygons, None, None] + fan).reshape(-1, 3))
        owners.append(np.repeat(polygons, size - 2))
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    return np.concatenate(triangles)[order], owner[order]


def _is_concave(polygons: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Return [N], whether a corner of polygons [N, C, 3] of means 0 turns back about their normals [N, 3] (Newell)."""
    length = np.linalg.norm(normal, axis=1)
    limit = STRAIGHT * np.abs(polygons).max((1, 2), initial=0.0) ** 2
    following = np.roll(polygons, -1, 1)
    turned = np.cross(following - polygons, np.roll(following, -1, 1) - following)
    # Without an area, or not finite, nothing is better than the fan.
    back = (np.einsum("ncx,nx->nc", turned, normal / length[:, None]) < -limit[:, None]).any(1)
    return np.isfinite(length) & (length > limit) & back


def _clip_ears(polygon: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Return triangles [T, 3] without overlaps of a polygon [C, 3], with all its corners; none if it crosses itself."""
    from mapbox_earcut import triangulate_float64

    # Coordinates in the plane, so that the polygon turns counter-clockwise.
    normal = normal / np.linalg.norm(normal)
    axis = np.eye(3)[np.abs(normal).argmin()]
    u = np.cross(axis, normal)
    u /= np.linalg.norm(u)
    flat = np.stack([polygon @ u, polygon @ np.cross(normal, u)], 1)
    found = triangulate_float64(flat, np.array([len(flat)], dtype=np.uint32)).reshape(-1, 3).astype(np.int64)
    a, b, c = flat[found].transpose(1, 0, 2)
    is_turned = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0] < 0
    return _with_straight_corners(np.where(is_turned[:, None], found[:, ::-1], found), len(polygon))


def _with_straight_corners(triangles: np.ndarray, size: int) -> np.ndarray:
    """Split triangles so that corners on a straight border, which ear clipping omits, are corners of them.

    Faces beyond that border use them; without them there would be T-junctions.
    """
    used = np.unique(triangles).tolist()
    rows = triangles.tolist()
    for a, b in zip(used, [*used[1:], *used[:1]], strict=True):
        between = [i % size for i in range(a + 1, b + (size if b <= a else 0))]
        row = next((i for i, (p, q, r) in enumerate(rows) if (a, b) in ((p, q), (q, r), (r, p))), None)
        if not between or row is None:
            continue
        top = next(corner for corner in rows.pop(row) if corner not in (a, b))
        border = [a, *between, b]
        rows += [[p, q, top] for p, q in pairwise(border)]
    return np.array(rows, dtype=np.int64).reshape(-1, 3)
