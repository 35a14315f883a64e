"""A bounding volume hierarchy (BVH) of triangles (Numba), for closest-point and intersection queries."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

# Triangles per leaf: fewer make the tree deeper, more make each visit more expensive; 2 to 8 were equally fast.
LEAF = 4
# Size of the traversal stack, which holds at most one node per level; a tree of 2^63 leaves has 64 levels.
STACK = 64
# Bits per coordinate of a Morton code: three coordinates fit into an int64.
BITS = 21


class BVH(NamedTuple):
    """A complete binary tree; node 1 is the root, the children of node n are 2 n and 2 n + 1.

    corners: [F, 3, 3] float64 corner positions, sorted along a space-filling curve (Morton order).
    face: [F] int64; sorted triangle s is face face[s] of the mesh.
    low, high: [2 L, 3] float64 boxes of the nodes; leaf l is node L + l and holds the sorted triangles
        l F // L .. (l + 1) F // L - 1. Node 0 is not used.
    """

    corners: np.ndarray
    face: np.ndarray
    low: np.ndarray
    high: np.ndarray


def build_bvh(vertices: np.ndarray, faces: np.ndarray) -> BVH:
    """Build the BVH of triangles: `faces` [F, 3] int64, F > 0, and `vertices` [V, 3] float64, all finite."""
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
    """Return the Morton codes [P] int64 of `points` [P, 3]: positions on a curve that keeps near points together.

    Source: G. Morton, "A computer oriented geodetic data base and a new technique in file sequencing" (1966).
    """
    low = points.min(0)
    size = max(float((points.max(0) - low).max()), np.finfo(np.float64).tiny)
    cell = np.minimum((points - low) / size * 2**BITS, 2**BITS - 1).astype(np.int64)
    # Insert two zeros after each bit of a coordinate, by repeated halving: 21 bits, then 2 x 11, 4 x 5, ...
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
    """Fill the boxes of all nodes, leaves first."""
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
