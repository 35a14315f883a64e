"""A tree of boxes around triangles (Numba): what the searches for near and crossing triangles walk through."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

# Triangles in a leaf: fewer make the tree deeper, more make each visit dearer; 2 to 8 were equally fast.
LEAF = 4
# Deeper than any tree of int64 many leaves: what is still to be visited is at most one node a level.
STACK = 64
# Bits a coordinate of the curve along which triangles are sorted: three of them fit into an int64.
BITS = 21


class BVH(NamedTuple):
    """A complete binary tree; node 1 is the root, the children of node n are 2 n and 2 n + 1.

    corners: [F, 3, 3] float64 corner positions, sorted along a space-filling curve.
    face: [F] int64; sorted triangle s is face[s] of the mesh.
    low, high: [2 L, 3] float64 boxes of the nodes; leaf l is node L + l and holds the sorted triangles
        l F // L .. (l + 1) F // L - 1. Node 0 is not used.
    """

    corners: np.ndarray
    face: np.ndarray
    low: np.ndarray
    high: np.ndarray


def build_bvh(vertices: np.ndarray, faces: np.ndarray) -> BVH:
    """Return the tree of the triangles `faces` [F, 3] int64, F > 0, of `vertices` [V, 3] float64, all finite."""
    corners = vertices[faces]
    order = np.argsort(curve_order(corners.mean(1)), kind="stable")
    corners = np.ascontiguousarray(corners[order])
    n_leaves = 1
    while n_leaves * LEAF < len(faces):
        n_leaves *= 2
    low, high = np.empty((2 * n_leaves, 3)), np.empty((2 * n_leaves, 3))
    fill_boxes(corners, low, high)
    return BVH(corners, order, low, high)


def curve_order(points: np.ndarray) -> np.ndarray:
    """Return [P] int64: the place of `points` [P, 3] on a curve that keeps near points together (Morton 1966)."""
    low = points.min(0)
    size = max(float((points.max(0) - low).max()), np.finfo(np.float64).tiny)
    cell = np.minimum((points - low) / size * 2**BITS, 2**BITS - 1).astype(np.int64)
    # Three zeros between the bits of each coordinate, by halves: 21 bits, then 2 x 11, 4 x 5, ...
    for shift, mask in (
        (32, 0x1F00000000FFFF),
        (16, 0x1F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):
        cell = (cell | cell << shift) & mask
    return cell[:, 0] | cell[:, 1] << 1 | cell[:, 2] << 2


@njit(nogil=True, cache=True)
def fill_boxes(corners, low, high):
    """Return the boxes of all nodes, leaves first."""
    n_leaves, n_faces = len(low) // 2, len(corners)
    for node in range(2 * n_leaves - 1, 0, -1):
        for axis in range(3):
            if node < n_leaves:
                low[node, axis] = min(low[2 * node, axis], low[2 * node + 1, axis])
                high[node, axis] = max(high[2 * node, axis], high[2 * node + 1, axis])
                continue
            leaf = node - n_leaves
            low[node, axis], high[node, axis] = np.inf, -np.inf
            for s in range(leaf * n_faces // n_leaves, (leaf + 1) * n_faces // n_leaves):
                for corner in range(3):
                    low[node, axis] = min(low[node, axis], corners[s, corner, axis])
                    high[node, axis] = max(high[node, axis], corners[s, corner, axis])
    for axis in range(3):
        low[0, axis], high[0, axis] = np.inf, -np.inf
