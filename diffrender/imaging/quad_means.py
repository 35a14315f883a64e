"""Means of an image over quadrilaterals (Numba, threaded): resampling by any smooth map, without aliasing."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from diffrender.threads import parallel_for

# Fewest quadrilaterals per thread: a millisecond of work.
GRAIN = 2000
# Below this difference of x the mean along an edge is its value in the middle, as exact as the quotient.
STEEP = 1e-4


def quad_means(image: np.ndarray, corners: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact means of a piecewise constant image over a grid of quadrilaterals, and how much of each it has.

    image: [H, W, C] float32; the pixel in row i, column j covers x in j..j + 1, y in i..i + 1.
    corners: [h + 1, w + 1, 2] float64 (x, y); quadrilateral (i, j) has the corners i, i + 1 and j, j + 1, clockwise on
        screen. valid: [h + 1, w + 1] bool; one with a corner that is not valid or not finite, mirrored, or larger
        than the image is empty.

    Returns the means [h, w, C] float32 over the part of each quadrilateral that is inside the image, 0 if none is, and
    [h, w, 2] float64: the area inside the image, and the whole area, in pixels of the image.
    """
    height, width = corners.shape[0] - 1, corners.shape[1] - 1
    means = np.zeros((height, width, image.shape[2]), np.float32)
    areas = np.zeros((height, width, 2))
    parallel_for(_quad_means, height, max(1, GRAIN // width), image, corners, valid, means, areas)
    return means, areas


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _ramp_integral(u):
    """Return the integral of clamp(u, 0, 1) up to u."""
    if u <= 0:
        return 0.0
    return 0.5 * u * u if u < 1 else u - 0.5


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def _right_of(x0, x1, left):
    """Return which share of the pixel left..left + 1 is right of the segment from x0 to x1, over the segment's y."""
    if abs(x1 - x0) < STEEP:
        return min(max(left + 1 - 0.5 * (x0 + x1), 0.0), 1.0)
    return (_ramp_integral(left + 1 - x0) - _ramp_integral(left + 1 - x1)) / (x1 - x0)


@njit(nogil=True, cache=True, error_model="numpy")
def _quad_means(start, end, image, corners, valid, means, areas):
    """Fill rows start..end - 1 of `means` and `areas`.

    The area of a polygon in a pixel is a signed sum over its edges of the pixel's area to the right of the edge: the
    sum that renders fonts. An edge that goes up counts positive.
    """
    height, width, n_channels = image.shape
    xs, ys = np.empty(5), np.empty(5)
    # Of the edges that cross a row of pixels: x where they enter and leave it, and how much of its height they take.
    x0, x1, rise = np.empty(4), np.empty(4), np.empty(4)
    total = np.empty(n_channels)
    for i in range(start, end):
        for j in range(corners.shape[1] - 1):
            if not (valid[i, j] and valid[i, j + 1] and valid[i + 1, j] and valid[i + 1, j + 1]):
                continue
            for k in range(5):
                row, column = i + (k % 4 >= 2), j + (k % 4 == 1 or k % 4 == 2)
                xs[k], ys[k] = corners[row, column, 0], corners[row, column, 1]
            whole = 0.5 * ((xs[2] - xs[0]) * (ys[3] - ys[1]) - (xs[3] - xs[1]) * (ys[2] - ys[0]))
            if not 0 < whole <= height * width:  # also of NaN
                continue
            areas[i, j, 1] = whole
            top, bottom = max(0.0, math.floor(ys.min())), min(float(height), math.ceil(ys.max()))
            total[:] = 0
            inside = 0.0
            for y in range(int(top), int(bottom)):
                n = 0
                left, right = float(width), 0.0
                for k in range(4):
                    low, high = max(float(y), min(ys[k], ys[k + 1])), min(y + 1.0, max(ys[k], ys[k + 1]))
                    if not low < high:
                        continue
                    slope = (xs[k + 1] - xs[k]) / (ys[k + 1] - ys[k])
                    x0[n], x1[n] = xs[k] + (low - ys[k]) * slope, xs[k] + (high - ys[k]) * slope
                    rise[n] = high - low if ys[k + 1] < ys[k] else low - high
                    left, right = min(left, x0[n], x1[n]), max(right, x0[n], x1[n])
                    n += 1
                for x in range(int(max(math.floor(left), 0.0)), int(min(math.ceil(right), float(width)))):
                    share = 0.0
                    for k in range(n):
                        share += rise[k] * _right_of(x0[k], x1[k], x)
                    inside += share
                    for c in range(n_channels):
                        total[c] += share * image[y, x, c]
            # Rounding leaves a trace of what only touches the image.
            if inside > 1e-9 * whole:
                areas[i, j, 0] = min(inside, whole)
                for c in range(n_channels):
                    means[i, j, c] = total[c] / inside
