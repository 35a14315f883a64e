"""Trilinear texture sampling and its gradients on the CPU. Positions and levels in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.ops.as_numpy import as_numpy, tangent_or_none
from diffrender.ops.scatter import sum_into
from diffrender.ops.tangents import count_tangents
from diffrender.threads import parallel_for

# Minimum number of samples per thread.
GRAIN = 8192


@njit(nogil=True, cache=True, inline="always")
def neighbours(coordinate, size, clamps):
    """Return the two texels on either side of a coordinate, and its fraction of the way from first to second."""
    u = np.float64(coordinate)
    # np.floor stays a float; math.floor would go through an integer and overflow far away.
    u = min(max(u, 0.0), 1.0) if clamps else u - np.floor(u)
    x = u * size - 0.5
    if not x >= -0.5:  # NaN, or an infinity that became one
        return 0, 0, math.nan
    low = np.floor(x)
    first = int(low)
    second = first + 1
    if clamps:
        return max(first, 0), min(second, size - 1), x - low
    return first + size if first < 0 else first, second - size if second >= size else second, x - low


@njit(nogil=True, cache=True, inline="always")
def squared_width(footprint, m, height, width):
    """Return the squared width of the footprint of sample m in texels; 0 where there are no footprints."""
    if footprint.shape[1] == 0:
        return 0.0
    if footprint.shape[1] == 1:
        return np.float64(footprint[m, 0]) * np.float64(footprint[m, 0])
    xu, yu = np.float64(footprint[m, 0]) * width, np.float64(footprint[m, 1]) * width
    xv, yv = np.float64(footprint[m, 2]) * height, np.float64(footprint[m, 3]) * height
    return 0.25 * (xu * xu + yu * yu + xv * xv + yv * yv)


@njit(nogil=True, cache=True, inline="always")
def level_of(squared, n_levels):
    """Return the finer one of the two levels, the weight of the coarser one, and whether they are blended."""
    if not squared > 1.0:
        return 0, 0.0, False
    level = 0.5 * math.log2(squared)
    if level >= n_levels - 1:
        return n_levels - 1, 0.0, False
    return int(level), level - int(level), True


@njit(nogil=True, cache=True)
def evaluate(start, end, texels, sizes, first, uv, footprint, clamps, out):
    """Write values of the samples start..end-1."""
    n_channels = out.shape[1]
    for m in range(start, end):
        level, t, blends = level_of(squared_width(footprint, m, sizes[0, 0], sizes[0, 1]), len(sizes))
        for c in range(n_channels):
            out[m, c] = 0
        for index in range(level, level + 1 + blends):
            height, width = sizes[index, 0], sizes[index, 1]
            left, right, fx = neighbours(uv[m, 0], width, clamps)
            above, below, fy = neighbours(uv[m, 1], height, clamps)
            weight = t if index > level else 1.0 - t
            a, b = first[index] + above * width, first[index] + below * width
            w00, w01 = weight * (1 - fy) * (1 - fx), weight * (1 - fy) * fx
            w10, w11 = weight * fy * (1 - fx), weight * fy * fx
            for c in range(n_channels):
                out[m, c] += (
                    w00 * texels[a + left, c]
                    + w01 * texels[a + right, c]
                    + w10 * texels[b + left, c]
                    + w11 * texels[b + right, c]
                )


@njit(nogil=True, cache=True)
def add_gradients(
    start, end, total, grad, texels, sizes, first, uv, footprint, clamps, grad_uv, grad_footprint
):  # fmt: skip
    """Add the texels' gradient of the samples start..end-1 to total [T, C]; write those of uv [M, 2] and footprint
    [M, 0, 1 or 4]. Total, or the other two, are empty where not wanted.

    Both in one pass: the texels of a large texture come from far away, and their levels take a logarithm.
    """
    wants_texels, wants_positions = len(total) > 0, len(grad_uv) > 0
    real = grad.dtype.type
    full_height, full_width = sizes[0, 0], sizes[0, 1]
    for m in range(start, end):
        squared = squared_width(footprint, m, full_height, full_width)
        level, t, blends = level_of(squared, len(sizes))
        du, dv, dt = 0.0, 0.0, 0.0

        # One level, or the two next to each other that are blended.
        for index in range(level, level + 1 + blends):
            height, width = sizes[index, 0], sizes[index, 1]
            left, right, fx = neighbours(uv[m, 0], width, clamps)
            above, below, fy = neighbours(uv[m, 1], height, clamps)
            weight = t if index > level else 1.0 - t
            a, b = first[index] + above * width, first[index] + below * width

            # Each of the four texels gets its weight of the incoming gradient.
            if wants_texels:
                w00, w01 = real(weight * (1 - fy) * (1 - fx)), real(weight * (1 - fy) * fx)
                w10, w11 = real(weight * fy * (1 - fx)), real(weight * fy * fx)
                for c in range(grad.shape[1]):
                    g = grad[m, c]
                    total[a + left, c] += w00 * g
                    total[a + right, c] += w01 * g
                    total[b + left, c] += w10 * g
                    total[b + right, c] += w11 * g

            # The incoming gradient times each of the four texels, and what it says of uv and of the level.
            if wants_positions:
                g00, g01, g10, g11 = 0.0, 0.0, 0.0, 0.0
                for c in range(grad.shape[1]):
                    g = np.float64(grad[m, c])
                    g00 += g * texels[a + left, c]
                    g01 += g * texels[a + right, c]
                    g10 += g * texels[b + left, c]
                    g11 += g * texels[b + right, c]
                upper, lower = g00 + (g01 - g00) * fx, g10 + (g11 - g10) * fx
                du += weight * width * ((g01 - g00) * (1 - fy) + (g11 - g10) * fy)
                dv += weight * height * (lower - upper)
                value = upper + (lower - upper) * fy
                dt += value if index > level else -value
        if not wants_positions:
            continue
        grad_uv[m, 0], grad_uv[m, 1] = du, dv

        # level = log2(squared) / 2; squared is f^2, or a quarter of the sum of the squares of the scaled derivatives.
        d_squared = dt / (2 * math.log(2.0) * squared) if blends else 0.0
        if footprint.shape[1] == 1:
            grad_footprint[m, 0] = 2 * d_squared * footprint[m, 0]
        elif footprint.shape[1] == 4:
            d_squared *= 0.5
            grad_footprint[m, 0] = d_squared * full_width * full_width * footprint[m, 0]
            grad_footprint[m, 1] = d_squared * full_width * full_width * footprint[m, 1]
            grad_footprint[m, 2] = d_squared * full_height * full_height * footprint[m, 2]
            grad_footprint[m, 3] = d_squared * full_height * full_height * footprint[m, 3]


def forward(
    texels: Tensor, sizes: tuple[tuple[int, int], ...], uv: Tensor, footprint: Tensor | None, wrap: str
) -> Tensor:
    """See op.sample_texture."""
    out = memory.empty((len(uv), texels.shape[1]), texels.dtype)
    positions = _positions(sizes, uv, footprint, wrap)
    parallel_for(evaluate, len(uv), GRAIN, *as_numpy(texels), *positions, out.numpy())
    return out


def backward(
    grad_out: Tensor,
    texels: Tensor,
    sizes: tuple[tuple[int, int], ...],
    uv: Tensor,
    footprint: Tensor | None,
    wrap: str,
    wants: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """See run_differentiable."""
    wants_texels, _, wants_uv, wants_footprint, _ = wants
    positions = _positions(sizes, uv, footprint, wrap)
    n_points = len(uv) if wants_uv or wants_footprint else 0
    grad_uv = memory.empty((n_points, 2), uv.dtype)
    flat = memory.empty((n_points, positions[3].shape[1]), uv.dtype)
    grad, texel_array = as_numpy(grad_out, texels)
    shared = (grad, texel_array, *positions, grad_uv.numpy(), flat.numpy())
    grad_texels = None
    if wants_texels:
        grad_texels = sum_into(tuple(texels.shape), texels.dtype, len(uv), add_gradients, *shared)
    else:
        nowhere = np.empty((0, texels.shape[1]), grad.dtype)
        parallel_for(add_gradients, len(uv), GRAIN, nowhere, *shared)
    grad_footprint = flat.reshape(footprint.shape) if footprint is not None and wants_footprint else None
    return grad_texels, None, grad_uv if wants_uv else None, grad_footprint, None


def _positions(
    sizes: tuple[tuple[int, int], ...], uv: Tensor, footprint: Tensor | None, wrap: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, bool]:
    """Return what all kernels take: sizes [L, 2], first texel per level [L], uv, footprint [M, 0, 1 or 4], clamps."""
    size_array = np.array(sizes, dtype=np.int64)
    first = np.concatenate([[0], np.cumsum(size_array.prod(1))])[:-1]
    flat = (
        memory.empty((len(uv), 0), uv.dtype)
        if footprint is None
        else footprint.reshape(len(uv), 4 if footprint.dim() == 3 else 1)
    )
    uv_array, footprint_array = as_numpy(uv, flat)
    return size_array, first, uv_array, footprint_array, wrap == "clamp"


@njit(nogil=True, cache=True)
def tangents_of(
    start, end, d_texels, d_uv, d_footprint, texels, sizes, first, uv, footprint, clamps, out
):  # fmt: skip
    """Write the tangents [K, M, C] of the samples start..end-1; those of texels, uv or footprint may be [0, ...]."""
    n_channels = texels.shape[1]
    full_height, full_width = sizes[0, 0], sizes[0, 1]
    by = np.empty((3, n_channels))  # the derivatives by u, v and the level
    for m in range(start, end):
        squared = squared_width(footprint, m, full_height, full_width)
        level, t, blends = level_of(squared, len(sizes))
        by[:] = 0.0
        for k in range(len(out)):
            for c in range(n_channels):
                out[k, m, c] = 0
        for index in range(level, level + 1 + blends):
            height, width = sizes[index, 0], sizes[index, 1]
            left, right, fx = neighbours(uv[m, 0], width, clamps)
            above, below, fy = neighbours(uv[m, 1], height, clamps)
            weight = t if index > level else 1.0 - t
            a, b = first[index] + above * width, first[index] + below * width
            w00, w01 = weight * (1 - fy) * (1 - fx), weight * (1 - fy) * fx
            w10, w11 = weight * fy * (1 - fx), weight * fy * fx
            for k in range(len(d_texels)):
                for c in range(n_channels):
                    out[k, m, c] += (
                        w00 * d_texels[k, a + left, c]
                        + w01 * d_texels[k, a + right, c]
                        + w10 * d_texels[k, b + left, c]
                        + w11 * d_texels[k, b + right, c]
                    )
            for c in range(n_channels):
                g00, g01 = np.float64(texels[a + left, c]), np.float64(texels[a + right, c])
                g10, g11 = np.float64(texels[b + left, c]), np.float64(texels[b + right, c])
                upper, lower = g00 + (g01 - g00) * fx, g10 + (g11 - g10) * fx
                by[0, c] += weight * width * ((g01 - g00) * (1 - fy) + (g11 - g10) * fy)
                by[1, c] += weight * height * (lower - upper)
                value = upper + (lower - upper) * fy
                by[2, c] += value if index > level else -value
        for k in range(len(d_uv)):
            for c in range(n_channels):
                out[k, m, c] += by[0, c] * d_uv[k, m, 0] + by[1, c] * d_uv[k, m, 1]
        if not blends:
            continue
        # level = log2(squared) / 2; squared is f^2, or a quarter of the sum of the squares of the scaled derivatives.
        for k in range(len(d_footprint)):
            if footprint.shape[1] == 1:
                d_squared = 2.0 * footprint[m, 0] * d_footprint[k, m, 0]
            else:
                across = footprint[m, 0] * d_footprint[k, m, 0] + footprint[m, 1] * d_footprint[k, m, 1]
                down = footprint[m, 2] * d_footprint[k, m, 2] + footprint[m, 3] * d_footprint[k, m, 3]
                d_squared = 0.5 * (full_width * full_width * across + full_height * full_height * down)
            d_level = d_squared / (2 * math.log(2.0) * squared)
            for c in range(n_channels):
                out[k, m, c] += by[2, c] * d_level


def jvp(
    tangents: Sequence[Tensor | None],
    texels: Tensor,
    sizes: tuple[tuple[int, int], ...],
    uv: Tensor,
    footprint: Tensor | None,
    wrap: str,
) -> Tensor:
    """See run_differentiable."""
    of_texels, _, of_uv, of_footprint, _ = tangents
    positions = _positions(sizes, uv, footprint, wrap)
    n_tangents = count_tangents(tangents)
    flat = uv.new_empty(0, len(uv), 0) if of_footprint is None else of_footprint[..., None].flatten(2)
    out = memory.empty((n_tangents, len(uv), texels.shape[1]), texels.dtype)
    moved = (tangent_or_none(of_texels, texels), tangent_or_none(of_uv, uv), *as_numpy(flat, texels))
    parallel_for(tangents_of, len(uv), GRAIN, *moved, *positions, out.numpy())
    return out
