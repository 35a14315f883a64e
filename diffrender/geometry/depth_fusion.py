"""What depths of pictures say of the points of a grid (Numba, threaded)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from diffrender.threads import parallel_for


def fuse_depths(
    axes: Sequence[np.ndarray], matrices: np.ndarray, depth: np.ndarray, is_known: np.ndarray, cell: float, most: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how far the points of a grid are before what pictures show, by all pictures together.

    axes: the coordinates x [X], y [Y] and z [Z] of the points. matrices: [N, 3, 4], from the world to homogeneous
    pixels (x w, y w, w) with the depth w. depth: [N, H, W]. is_known: [N, H, W] bool. cell, most: a point counts for
    a picture if it is not farther than `most` cells behind.

    Returns [X, Y, Z] each: the sum of distances in cells, of at most `most`; of how many pictures; and for how many of
    these the distance is less than that.
    Source: B. Curless, M. Levoy, "A volumetric method for building complex models from range images" (1996).
    """
    shape = tuple(len(axis) for axis in axes)
    total, count, near = np.zeros(shape, np.float32), np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    arrays = (np.ascontiguousarray(each, np.float64) for each in (*axes, matrices))
    known = np.where(is_known, depth, np.float32(np.nan)).astype(np.float32)
    parallel_for(_fuse_depths, shape[0], 1, *arrays, known, float(cell), float(most), total, count, near)
    return total, count, near


@njit(nogil=True, cache=True, error_model="numpy")
def _fuse_depths(start, end, xs, ys, zs, matrices, depth, cell, most, total, count, near):
    """Fill slabs start..end - 1. Where a depth is not known it is not a number."""
    n_views, height, width = depth.shape
    for view in range(n_views):
        m = matrices[view]
        for i in range(start, end):
            for j in range(len(ys)):
                base_x = m[0, 0] * xs[i] + m[0, 1] * ys[j] + m[0, 3]
                base_y = m[1, 0] * xs[i] + m[1, 1] * ys[j] + m[1, 3]
                base_w = m[2, 0] * xs[i] + m[2, 1] * ys[j] + m[2, 3]
                for k in range(len(zs)):
                    far = base_w + m[2, 2] * zs[k]
                    if not far > 0:
                        continue
                    x, y = (base_x + m[0, 2] * zs[k]) / far, (base_y + m[1, 2] * zs[k]) / far
                    if not (0 <= x < width and 0 <= y < height):
                        continue
                    before = (depth[view, int(y), int(x)] - far) / cell
                    if before > -most:
                        total[i, j, k] += min(before, most)
                        count[i, j, k] += 1
                        near[i, j, k] += before < most
