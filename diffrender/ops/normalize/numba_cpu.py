"""Normalized vectors on the CPU. Arithmetic in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.ops.as_numpy import as_numpy
from diffrender.ops.normalize.op import LEAST_LENGTH
from diffrender.threads import parallel_for

# Minimum number of vectors per thread.
GRAIN = 16384


@njit(nogil=True, cache=True, forceinline=True)
def load(vectors, m):
    """Return a vector in float64, and 1 / its length, 0 where it has none."""
    x, y, z = np.float64(vectors[m, 0]), np.float64(vectors[m, 1]), np.float64(vectors[m, 2])
    length = math.sqrt(x * x + y * y + z * z)
    return x, y, z, 0.0 if length < LEAST_LENGTH else 1.0 / length


@njit(nogil=True, cache=True, error_model="numpy")
def evaluate(start, end, vectors, out):
    """Write the vectors start..end-1."""
    for m in range(start, end):
        x, y, z, scale = load(vectors, m)
        out[m, 0], out[m, 1], out[m, 2] = x * scale, y * scale, z * scale


@njit(nogil=True, cache=True, error_model="numpy")
def derivatives(start, end, vectors, given, out):
    """Write each of the K given gradients or tangents [K, M, 3], without its part along the vector, over the length."""
    for m in range(start, end):
        x, y, z, scale = load(vectors, m)
        x, y, z = x * scale, y * scale, z * scale
        for k in range(len(given)):
            gx, gy, gz = np.float64(given[k, m, 0]), np.float64(given[k, m, 1]), np.float64(given[k, m, 2])
            along = gx * x + gy * y + gz * z
            out[k, m, 0], out[k, m, 1] = (gx - along * x) * scale, (gy - along * y) * scale
            out[k, m, 2] = (gz - along * z) * scale


def forward(vectors: Tensor) -> Tensor:
    """See op.normalize."""
    out = memory.empty(vectors.shape, vectors.dtype)
    parallel_for(evaluate, len(vectors), GRAIN, *as_numpy(vectors, out))
    return out


def backward(grad_out: Tensor, vectors: Tensor, wants: Sequence[bool]) -> tuple[Tensor]:
    """See run_differentiable."""
    return (jvp([grad_out[None]], vectors)[0],)


def jvp(tangents: Sequence[Tensor], vectors: Tensor) -> Tensor:
    """See run_differentiable: the Jacobian is symmetric, so a tangent goes forward as a gradient goes back."""
    out = memory.empty(tangents[0].shape, vectors.dtype)
    parallel_for(derivatives, len(vectors), GRAIN, *as_numpy(vectors, tangents[0], out))
    return out
