"""How a picture looks like others seen through planes at many depths (Numba)."""

from __future__ import annotations

import numpy as np
from numba import njit

# Half the side in pixels of the squares that are compared.
REACH = 2
# Squares of less variance show nothing; pictures are in 0..1.
FLAT = np.float32(1e-5)
ZERO, HALF, ONE, NONE = np.float32(0), np.float32(0.5), np.float32(1), np.float32(-1)


def sweep_planes(
    mine: np.ndarray, theirs: np.ndarray, ends: np.ndarray, epipoles: np.ndarray, inverse: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return for each pixel how well its square correlates with the two best of others, and through which plane.

    mine: [H, W] float32. theirs: [K, h, w] float32, at least one picture.
    ends: [K, H, W, 3] float32, homogeneous pixels (x w, y w, w) in theirs of points on a first plane, and epipoles:
        [K, 3], those of the place of the camera: a plane 1 / s times as far away is seen at ends + (s - 1) epipoles.
    inverse: [D] float32, the s of all planes, at least three.

    Returns the mean of the two best correlations [H, W], or that of a single picture, -1 where nothing is seen, and the
    place [H, W] among the planes: between them, the vertex of the parabola through the best and those beside it.
    """
    arrays = (np.ascontiguousarray(each, np.float32) for each in (mine, theirs, ends, epipoles, inverse))
    best, place = np.empty(mine.shape, np.float32), np.empty(mine.shape, np.float32)
    _sweep_planes(*arrays, best, place)
    return best, place


@njit(nogil=True, cache=True, error_model="numpy")
def _sweep_planes(mine, theirs, ends, epipoles, inverse, best, place):
    height, width = mine.shape
    n_others = len(theirs)
    share = _shares(height, width)
    # What is around pictures is zero, so that all squares are whole.
    padded, seen = _pad(mine), _pad(mine)
    is_inside = np.empty((height, width), np.bool_)
    sums = np.zeros((3, height + 2 * REACH, width), np.float32)
    own, spread = np.empty((height, width), np.float32), np.empty((height, width), np.float32)
    _sum_rows(seen, padded, sums)
    for i in range(height):
        for j in range(width):
            own[i, j] = _sum_columns(sums[0], i, j) * share[i, j]
            spread[i, j] = max(_sum_columns(sums[1], i, j) * share[i, j] - own[i, j] * own[i, j], ZERO) + FLAT
    first, second = np.empty((height, width), np.float32), np.empty((height, width), np.float32)
    last, before = np.full((height, width), NONE), np.full((height, width), NONE)
    after = np.full((height, width), NONE)
    best[:], place[:] = NONE - ONE, ZERO
    for d in range(len(inverse)):
        first[:], second[:] = NONE, NONE
        for k in range(n_others):
            _look_through(theirs[k], ends[k], epipoles[k], inverse[d] - ONE, seen, is_inside)
            _sum_rows(seen, padded, sums)
            for i in range(height):
                for j in range(width):
                    mean = _sum_columns(sums[0], i, j) * share[i, j]
                    varies = max(_sum_columns(sums[1], i, j) * share[i, j] - mean * mean, ZERO) + FLAT
                    both = _sum_columns(sums[2], i, j) * share[i, j] - mean * own[i, j]
                    value = both / np.sqrt(spread[i, j] * varies) if is_inside[i, j] else NONE
                    second[i, j] = max(second[i, j], min(first[i, j], value))
                    first[i, j] = max(first[i, j], value)
        for i in range(height):
            for j in range(width):
                score = HALF * (first[i, j] + second[i, j]) if n_others > 1 else first[i, j]
                after[i, j] = score if place[i, j] == d - 1 else after[i, j]
                is_better = score > best[i, j]
                best[i, j] = score if is_better else best[i, j]
                place[i, j] = np.float32(d) if is_better else place[i, j]
                before[i, j] = last[i, j] if is_better else before[i, j]
                last[i, j] = score
    for i in range(height):
        for j in range(width):
            if 0 < place[i, j] < len(inverse) - 1:
                bend = min(before[i, j] - best[i, j] + after[i, j] - best[i, j], -FLAT)
                place[i, j] += min(max(HALF * (before[i, j] - after[i, j]) / bend, -HALF), HALF)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _pad(picture):
    height, width = picture.shape
    padded = np.zeros((height + 2 * REACH, width + 2 * REACH), np.float32)
    padded[REACH : REACH + height, REACH : REACH + width] = picture
    return padded


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _look_through(picture, ends, epipole, farther, seen, is_inside):
    """Set what pixels see of another picture (bilinear) through a plane, and whether that is inside of it."""
    height, width = picture.shape
    most_x, most_y = np.float32(width - 1), np.float32(height - 1)
    for i in range(len(is_inside)):
        for j in range(is_inside.shape[1]):
            w = ends[i, j, 2] + farther * epipole[2]
            x = (ends[i, j, 0] + farther * epipole[0]) / w - HALF
            y = (ends[i, j, 1] + farther * epipole[1]) / w - HALF
            is_inside[i, j] = w > 0 and x > -HALF and x < most_x + HALF and y > -HALF and y < most_y + HALF
            # What is not a number cannot be rounded.
            x = min(max(x, ZERO), most_x) if x == x else ZERO
            y = min(max(y, ZERO), most_y) if y == y else ZERO
            left, top = np.int32(x), np.int32(y)
            right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
            s, t = x - np.float32(left), y - np.float32(top)
            above = picture[top, left] + s * (picture[top, right] - picture[top, left])
            below = picture[bottom, left] + s * (picture[bottom, right] - picture[bottom, left])
            value = above + t * (below - above)
            seen[i + REACH, j + REACH] = value if w > 0 else ZERO


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _sum_rows(seen, mine, sums):
    """Set sums [3, H + 4, W] along rows of squares: of padded `seen`, of its square, of its product with `mine`."""
    for i in range(REACH, seen.shape[0] - REACH):
        for j in range(sums.shape[2]):
            value, square, product = ZERO, ZERO, ZERO
            for k in range(2 * REACH + 1):
                value += seen[i, j + k]
                square += seen[i, j + k] * seen[i, j + k]
                product += seen[i, j + k] * mine[i, j + k]
            sums[0, i, j], sums[1, i, j], sums[2, i, j] = value, square, product


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _sum_columns(sums, i, j):
    """Return the sum of `sums` [H + 4, W] along the column of the square around a pixel."""
    total = ZERO
    for k in range(2 * REACH + 1):
        total += sums[i + k, j]
    return total


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _shares(height, width):
    """Return one over the number of pixels of the square around each pixel [H, W]."""
    share = np.empty((height, width), np.float32)
    for i in range(height):
        for j in range(width):
            rows = min(height, i + REACH + 1) - max(0, i - REACH)
            share[i, j] = ONE / np.float32(rows * (min(width, j + REACH + 1) - max(0, j - REACH)))
    return share
