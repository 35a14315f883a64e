"""Points under affine maps on the CPU. Arithmetic in float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.ops.as_numpy import as_numpy
from diffrender.threads import parallel_for

# Minimum number of points per thread.
GRAIN = 8192
# Points whose share of a matrix's gradient is one sum, however many threads there are.
BLOCK = 4096


@njit(nogil=True, cache=True, error_model="numpy")
def evaluate_width(start, end, width, points, matrices, out):
    """Write points start..end-1 under all maps, to `width` numbers each."""
    for n in range(len(matrices)):
        matrix = matrices[n].astype(np.float64)
        for v in range(start, end):
            x, y, z = np.float64(points[v, 0]), np.float64(points[v, 1]), np.float64(points[v, 2])
            for k in range(width):
                out[n, v, k] = matrix[k, 0] * x + matrix[k, 1] * y + matrix[k, 2] * z + matrix[k, 3]


@njit(nogil=True, cache=True, error_model="numpy")
def evaluate(start, end, points, matrices, out):
    """Do the same; the width of a projection is known to the compiler."""
    if matrices.shape[1] == 4:
        evaluate_width(start, end, 4, points, matrices, out)
    else:
        evaluate_width(start, end, matrices.shape[1], points, matrices, out)


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def point_gradients_of(start, end, n_maps, width, matrices, grad, out):
    """Write the gradients of points start..end-1: the sum over `n_maps` maps to `width` numbers, each transposed."""
    for v in range(start, end):
        x = y = z = 0.0
        for n in range(n_maps):
            for k in range(width):
                g = np.float64(grad[n, v, k])
                x += g * matrices[n, k, 0]
                y += g * matrices[n, k, 1]
                z += g * matrices[n, k, 2]
        out[v, 0], out[v, 1], out[v, 2] = x, y, z


@njit(nogil=True, cache=True, error_model="numpy")
def point_gradients(start, end, matrices, grad, out):
    """Do the same; that of one projection is known to the compiler."""
    wide = matrices.astype(np.float64)
    if matrices.shape[:2] == (1, 4):
        point_gradients_of(start, end, 1, 4, wide, grad, out)
    else:
        point_gradients_of(start, end, len(matrices), matrices.shape[1], wide, grad, out)


@njit(nogil=True, cache=True, error_model="numpy")
def matrix_gradients(start, end, points, grad, sums):
    """Write the share of blocks start..end-1 of points in the gradients of the maps."""
    for block in range(start, end):
        first = block * BLOCK
        last = min(first + BLOCK, len(points))
        for n in range(grad.shape[0]):
            for k in range(grad.shape[2]):
                a = b = c = d = 0.0
                for v in range(first, last):
                    g = np.float64(grad[n, v, k])
                    a += g * points[v, 0]
                    b += g * points[v, 1]
                    c += g * points[v, 2]
                    d += g
                sums[block, n, k, 0], sums[block, n, k, 1], sums[block, n, k, 2], sums[block, n, k, 3] = a, b, c, d


def forward(points: Tensor, matrices: Tensor) -> Tensor:
    """See op.transform_points."""
    out = memory.empty((len(matrices), len(points), matrices.shape[1]), points.dtype)
    parallel_for(evaluate, len(points), GRAIN, *as_numpy(points, matrices, out))
    return out


def backward(
    grad_out: Tensor, points: Tensor, matrices: Tensor, wants: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """See run_differentiable."""
    to_points = to_matrices = None
    if wants[0]:
        to_points = memory.empty(points.shape, points.dtype)
        parallel_for(point_gradients, len(points), GRAIN, *as_numpy(matrices, grad_out, to_points))
    if wants[1]:
        n_blocks = -(-len(points) // BLOCK)
        sums = np.empty((n_blocks, *matrices.shape))
        parallel_for(matrix_gradients, n_blocks, GRAIN // BLOCK, *as_numpy(points, grad_out), sums)
        to_matrices = torch.from_numpy(sums.sum(0)).to(matrices.dtype)
    return to_points, to_matrices


def jvp(tangents: Sequence[Tensor | None], points: Tensor, matrices: Tensor) -> Tensor:
    """See run_differentiable: the map is affine in the points and linear in the matrices."""
    of_points, of_matrices = tangents
    total = None
    if of_matrices is not None:
        total = forward(points, of_matrices.flatten(0, 1)).unflatten(0, of_matrices.shape[:2])
    if of_points is not None:
        linear = torch.cat([matrices[..., :3], torch.zeros_like(matrices[..., 3:])], 2)
        moved = forward(of_points.flatten(0, 1), linear).unflatten(1, of_points.shape[:2]).transpose(0, 1)
        total = moved if total is None else total.add_(moved)
    assert total is not None
    return total
