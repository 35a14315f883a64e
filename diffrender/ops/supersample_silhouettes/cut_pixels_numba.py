"""Pixels that one straight silhouette cuts in two, on the CPU. Arithmetic in float64; see cut_pixels.py."""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.ops.silhouettes.op import SEGMENT_PX
from diffrender.ops.supersample_silhouettes.cut_pixels import FAR, LEAST_AREA, LEAST_SLOPE, MARGIN, NEAR


@njit(nogil=True, cache=True)
def cut_square(normal_x, normal_y, distance):
    """Return two points inside, one outside, the area inside and the length of the line; see cut_pixels."""
    a, b = max(abs(normal_x), LEAST_SLOPE), max(abs(normal_y), LEAST_SLOPE)
    distance -= min(normal_x, 0.0) + min(normal_y, 0.0)
    p, q = max(distance, 0.0), max(distance - a, 0.0)
    r, s = max(distance - b, 0.0), max(distance - a - b, 0.0)
    product, cubes = a * b, p**3 - q**3 - r**3 + s**3
    area = min(max((p * p - q * q - r * r + s * s) / (2 * product), 0.0), 1.0)
    x = (cubes / (3 * a) + s * s - q * q) / (2 * product)
    y = (cubes / (3 * b) + s * s - r * r) / (2 * product)
    inside_x, inside_y, outside_x, outside_y = 0.5, 0.5, 0.5, 0.5
    if area >= LEAST_AREA:
        inside_x, inside_y = x / area, y / area
    if 1 - area >= LEAST_AREA:
        outside_x, outside_y = (0.5 - x) / (1 - area), (0.5 - y) / (1 - area)
    depth = (inside_x * a + inside_y * b - distance) / (a * a + b * b)
    near, far = (2 * NEAR * NEAR - 1) * depth, (2 * FAR * FAR - 1) * depth
    return (
        reflect(inside_x + near * a, inside_y + near * b, normal_x, normal_y),
        reflect(inside_x + far * a, inside_y + far * b, normal_x, normal_y),
        reflect(outside_x, outside_y, normal_x, normal_y),
        area,
        (p - q - r + s) / product,
    )


@njit(nogil=True, cache=True, forceinline=True)
def reflect(x, y, normal_x, normal_y):
    """Return a point of the square, reflected along axes where the normal is negative."""
    x, y = 1 - x if normal_x < 0 else x, 1 - y if normal_y < 0 else y
    return min(max(x, MARGIN), 1 - MARGIN), min(max(y, MARGIN), 1 - MARGIN)


@njit(nogil=True, cache=True)
def mark_pixels(pixel, edge, xy, normal, height, width, count, run, points, weights):
    """Count the pixels' silhouettes, those that do not pass through from side to side twice; see cut_pixels.

    Runs of segments on one edge in one pixel are numbered: run[pixel] is the last run in it.
    """
    n_runs = first = 0
    for p in range(1, len(pixel) + 1):
        if p < len(pixel) and pixel[p] == pixel[p - 1] and edge[p] == edge[p - 1]:
            continue
        at = pixel[first]
        x, y = xy[first, 0] - at % width, xy[first, 1] - at // width % height
        nx, ny = np.float64(normal[first, 0]), np.float64(normal[first, 1])
        length = math.sqrt(nx * nx + ny * ny)
        scale = 1 / max(length, 1e-12)
        near, far, outside, area, chord = cut_square(nx * scale, ny * scale, (x * nx + y * ny) * scale)
        reach = math.hypot(xy[p - 1, 0] - xy[first, 0], xy[p - 1, 1] - xy[first, 1]) + length
        is_whole = length > 0 and reach >= chord - SEGMENT_PX
        count[at] = min(count[at] + (1 if is_whole else 2), 2)
        run[at] = n_runs
        points[n_runs, 0, 0], points[n_runs, 0, 1] = near
        points[n_runs, 1, 0], points[n_runs, 1, 1] = far
        points[n_runs, 2, 0], points[n_runs, 2, 1] = outside
        weights[n_runs, 0], weights[n_runs, 1], weights[n_runs, 2] = NEAR * area, FAR * area, 1 - area
        n_runs += 1
        first = p


@njit(nogil=True, cache=True)
def place_cuts(cut, run, points, weights, height, width, out_points, out_weights, view, xy):
    """Write the points of the cut pixels with their weights, and as points of the image."""
    for c in range(len(cut)):
        row = cut[c] // width
        for k in range(3):
            x, y = points[run[cut[c]], k, 0], points[run[cut[c]], k, 1]
            out_points[c, k, 0], out_points[c, k, 1], out_weights[c, k] = x, y, weights[run[cut[c]], k]
            view[3 * c + k] = row // height
            xy[3 * c + k, 0], xy[3 * c + k, 1] = cut[c] - row * width + x, row % height + y


def find_cut_pixels(
    pixel: np.ndarray, edge: np.ndarray, xy: np.ndarray, normal: np.ndarray, extra_pixels: Tensor | None,
    size: tuple[int, int, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Return the pixels to supersample and those that are cut in two; run[pixel], points and weights by the run."""
    n_views, height, width = size
    n_pixels = n_views * height * width
    count = np.zeros(n_pixels, np.uint8) if extra_pixels is None else 2 * extra_pixels.numpy().flatten().view(np.uint8)
    run = memory.empty((n_pixels,), torch.int32).numpy()
    points = memory.empty((len(pixel), 3, 2), torch.float64).numpy()
    weights = memory.empty((len(pixel), 3), torch.float64).numpy()
    if len(pixel):
        mark_pixels(pixel, edge, xy, normal, height, width, count, run, points, weights)
    return np.flatnonzero(count > 1), np.flatnonzero(count == 1), run, points, weights
