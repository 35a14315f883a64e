"""Places of directions in a lat-long map on the CPU. Arithmetic in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.ops.as_numpy import as_numpy
from diffrender.ops.lat_long_uv.op import NEAREST_POLE
from diffrender.threads import parallel_for

# Minimum number of directions per thread.
GRAIN = 8192


@njit(nogil=True, cache=True, forceinline=True)
def load(directions, m):
    """Return a direction in float64, and its squared distance from the axis through the poles, 0 at a pole."""
    x, y, z = np.float64(directions[m, 0]), np.float64(directions[m, 1]), np.float64(directions[m, 2])
    squared = x * x + z * z
    return x, y, z, 0.0 if squared < NEAREST_POLE * NEAREST_POLE else squared


@njit(nogil=True, cache=True, error_model="numpy")
def evaluate(start, end, directions, padding, out):
    """Write uv of the directions start..end-1."""
    for m in range(start, end):
        x, y, z, squared = load(directions, m)
        out[m, 0] = (0.0 if squared == 0.0 else math.atan2(z, x) / (2.0 * math.pi)) + 0.5
        out[m, 1] = (math.atan2(math.sqrt(squared), y) / math.pi + padding) / (1.0 + 2.0 * padding)


@njit(nogil=True, cache=True, forceinline=True, error_model="numpy")
def derivatives(directions, m, padding):
    """Return those of u by x and z, and those of v by x, y and z; zeros at a pole."""
    x, y, z, squared = load(directions, m)
    if squared == 0.0:
        return 0.0, 0.0, 0.0, 0.0, 0.0
    of_u = 1.0 / (2.0 * math.pi * squared)
    across = math.sqrt(squared)
    of_v = 1.0 / (math.pi * (1.0 + 2.0 * padding) * (squared + y * y))
    return -z * of_u, x * of_u, x * y / across * of_v, -across * of_v, z * y / across * of_v


@njit(nogil=True, cache=True, error_model="numpy")
def gradients(start, end, grad, directions, padding, out):
    """Write gradients of the directions start..end-1."""
    for m in range(start, end):
        u_by_x, u_by_z, v_by_x, v_by_y, v_by_z = derivatives(directions, m, padding)
        g_u, g_v = np.float64(grad[m, 0]), np.float64(grad[m, 1])
        out[m, 0], out[m, 1], out[m, 2] = g_u * u_by_x + g_v * v_by_x, g_v * v_by_y, g_u * u_by_z + g_v * v_by_z


@njit(nogil=True, cache=True, error_model="numpy")
def tangents_of(start, end, moved, directions, padding, out):
    """Write tangents [K, M, 2] of the directions start..end-1, from theirs [K, M, 3]."""
    for m in range(start, end):
        u_by_x, u_by_z, v_by_x, v_by_y, v_by_z = derivatives(directions, m, padding)
        for k in range(len(moved)):
            dx, dy, dz = np.float64(moved[k, m, 0]), np.float64(moved[k, m, 1]), np.float64(moved[k, m, 2])
            out[k, m, 0], out[k, m, 1] = u_by_x * dx + u_by_z * dz, v_by_x * dx + v_by_y * dy + v_by_z * dz


def forward(directions: Tensor, padding: float) -> Tensor:
    """See op.lat_long_uv."""
    out = memory.empty((len(directions), 2), directions.dtype)
    parallel_for(evaluate, len(directions), GRAIN, *as_numpy(directions), padding, out.numpy())
    return out


def backward(grad_out: Tensor, directions: Tensor, padding: float, wants: Sequence[bool]) -> tuple[Tensor, None]:
    """See run_differentiable."""
    out = memory.empty(directions.shape, directions.dtype)
    parallel_for(gradients, len(directions), GRAIN, *as_numpy(grad_out, directions), padding, out.numpy())
    return out, None


def jvp(tangents: Sequence[Tensor], directions: Tensor, padding: float) -> Tensor:
    """See run_differentiable."""
    moved, given = as_numpy(tangents[0], directions)
    out = memory.empty((len(moved), len(directions), 2), directions.dtype)
    parallel_for(tangents_of, len(directions), GRAIN, moved, given, padding, out.numpy())
    return out
