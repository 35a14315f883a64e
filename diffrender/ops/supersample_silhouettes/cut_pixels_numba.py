"""The shares of samples on the CPU. Arithmetic in float64; see cut_pixels.py."""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.ops.silhouettes.op import SEGMENT_PX
from diffrender.ops.supersample_silhouettes.cut_pixels import LEAST_SLOPE, Slivers
from diffrender.threads import parallel_for


@njit(nogil=True, cache=True)
def cut_square(normal_x, normal_y, distance):
    """Return the area inside and the length of the line; see cut_pixels.cut_squares."""
    a, b = max(abs(normal_x), LEAST_SLOPE), max(abs(normal_y), LEAST_SLOPE)
    distance -= min(normal_x, 0.0) + min(normal_y, 0.0)
    p, q = max(distance, 0.0), max(distance - a, 0.0)
    r, s = max(distance - b, 0.0), max(distance - a - b, 0.0)
    area = (p * p - q * q - r * r + s * s) / (2 * a * b)
    return min(max(area, 0.0), 1.0), (p - q - r + s) / (a * b)


@njit(nogil=True, cache=True)
def point_in_sliver(normal_x, normal_y, distance, is_within):
    """Return a point of one side of the line; see cut_pixels.points_in_slivers."""
    a, b = max(abs(normal_x), LEAST_SLOPE), max(abs(normal_y), LEAST_SLOPE)
    distance -= min(normal_x, 0.0) + min(normal_y, 0.0)
    x = (max((distance - b) / a, 0.0) + min(distance / a, 1.0) + (not is_within)) / 3
    y = (max((distance - a) / b, 0.0) + min(distance / b, 1.0) + (not is_within)) / 3
    return 1 - x if normal_x < 0 else x, 1 - y if normal_y < 0 else y


@njit(nogil=True, cache=True)
def mark_pixels(pixel, edge, xy, normal, height, width, count, run, lines):
    """Count the pixels' silhouettes, those that do not pass through from side to side twice.

    Runs of segments on one edge in one pixel are numbered: run[pixel] is the last run in it, and its lines[run] are the
    normal, the distance from the pixel's corner and the area inside.
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
        nx, ny = nx * scale, ny * scale
        distance = x * nx + y * ny
        area, chord = cut_square(nx, ny, distance)
        reach = math.hypot(xy[p - 1, 0] - xy[first, 0], xy[p - 1, 1] - xy[first, 1]) + length
        is_whole = length > 0 and reach >= chord - SEGMENT_PX
        count[at] = min(count[at] + (1 if is_whole else 2), 2)
        run[at] = n_runs
        lines[n_runs, 0], lines[n_runs, 1], lines[n_runs, 2], lines[n_runs, 3] = nx, ny, distance, area
        n_runs += 1
        first = p


@njit(nogil=True, cache=True)
def share_pixels(start, end, pixel, count, run, lines, offsets, height, width, share, sliver_share, sliver_xy):
    """Write the shares of the samples of pixels start..end-1, and slivers; their share is 0 where there is none."""
    n_samples = len(offsets)
    for r in range(start, end):
        share[r] = 1 / n_samples
        sliver_share[r] = 0
        if count[pixel[r]] != 1:
            continue
        nx, ny, distance, area = lines[run[pixel[r]]]
        n_inside = 0
        for s in range(n_samples):
            n_inside += nx * np.float64(offsets[s, 0]) + ny * np.float64(offsets[s, 1]) <= distance
        if n_inside == 0 or n_inside == n_samples:
            sliver_share[r] = area if n_inside == 0 else 1 - area
            x, y = point_in_sliver(nx, ny, distance, n_inside == 0)
            sliver_xy[r, 0], sliver_xy[r, 1] = pixel[r] % width + x, pixel[r] // width % height + y
        for s in range(n_samples):
            is_inside = nx * np.float64(offsets[s, 0]) + ny * np.float64(offsets[s, 1]) <= distance
            share[r, s] = area / n_inside if is_inside else (1 - area) / (n_samples - n_inside)


def weigh_samples(
    pixel: np.ndarray, edge: np.ndarray, xy: np.ndarray, normal: np.ndarray, extra_pixels: Tensor | None,
    offsets: np.ndarray, size: tuple[int, int, int],
) -> tuple[np.ndarray, Tensor, Slivers]:  # fmt: skip
    """See cut_pixels.weigh_samples; the segments by their parts."""
    n_views, height, width = size
    n_pixels = n_views * height * width
    count = np.zeros(n_pixels, np.uint8) if extra_pixels is None else 2 * extra_pixels.numpy().flatten().view(np.uint8)
    run = memory.empty((n_pixels,), torch.int32).numpy()
    lines = memory.empty((len(pixel), 4), torch.float64).numpy()
    if len(pixel):
        mark_pixels(pixel, edge, xy, normal, height, width, count, run, lines)
    refined = np.flatnonzero(count)
    dtype = torch.from_numpy(offsets).dtype
    share, lone = memory.empty((len(refined), len(offsets)), dtype), np.empty(len(refined), offsets.dtype)
    lone_xy = np.empty((len(refined), 2))
    out = (share.numpy(), lone, lone_xy)
    parallel_for(share_pixels, len(refined), 4096, refined, count, run, lines, offsets, height, width, *out)
    which = np.flatnonzero(lone)
    slivers = Slivers(*(torch.from_numpy(each[which]) for each in (refined, lone_xy, lone)))
    return refined, share, slivers
