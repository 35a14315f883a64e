"""Affine maps and their gradients on the CPU. Arithmetic in float64."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from diffrender.ops.arrays import arrays
from diffrender.ops.scatter import sum_into
from diffrender.threads import parallel_for


@njit(nogil=True, cache=True)
def evaluate(start, end, matrix, points, out):
    """The points start..end-1 in all rows of all matrices."""
    for v in range(start, end):
        x, y, z = np.float64(points[v, 0]), np.float64(points[v, 1]), np.float64(points[v, 2])
        for n in range(matrix.shape[0]):
            for r in range(matrix.shape[1]):
                out[n, v, r] = x * matrix[n, r, 0] + y * matrix[n, r, 1] + z * matrix[n, r, 2] + matrix[n, r, 3]


@njit(nogil=True, cache=True)
def points_gradient(start, end, grad, matrix, out):
    """Gradient with respect to the points start..end-1."""
    for v in range(start, end):
        x, y, z = 0.0, 0.0, 0.0
        for n in range(matrix.shape[0]):
            for r in range(matrix.shape[1]):
                g = grad[n, v, r]
                x += g * matrix[n, r, 0]
                y += g * matrix[n, r, 1]
                z += g * matrix[n, r, 2]
        out[v, 0], out[v, 1], out[v, 2] = x, y, z


@njit(nogil=True, cache=True)
def add_matrix_gradient(start, end, total, grad, points):
    """Add the gradient of the points start..end-1 to total [N, R, 4]."""
    for n in range(grad.shape[0]):
        for r in range(grad.shape[2]):
            x, y, z, one = 0.0, 0.0, 0.0, 0.0
            for v in range(start, end):
                g = np.float64(grad[n, v, r])
                x += g * points[v, 0]
                y += g * points[v, 1]
                z += g * points[v, 2]
                one += g
            total[n, r, 0] += x
            total[n, r, 1] += y
            total[n, r, 2] += z
            total[n, r, 3] += one


def forward(matrix: Tensor, points: Tensor) -> Tensor:
    """See op.affine."""
    out = torch.empty((len(matrix), len(points), matrix.shape[1]), dtype=points.dtype)
    matrix_array, points_array = arrays(matrix, points)
    parallel_for(evaluate, len(points), 16384, matrix_array.astype(np.float64), points_array, out.numpy())
    return out


def backward_points(grad_out: Tensor, matrix: Tensor) -> Tensor:
    """Gradient with respect to points [V, 3]."""
    out = torch.empty((grad_out.shape[1], 3), dtype=grad_out.dtype)
    grad, matrix_array = arrays(grad_out, matrix)
    parallel_for(points_gradient, len(out), 16384, grad, matrix_array.astype(np.float64), out.numpy())
    return out


def backward_matrix(grad_out: Tensor, points: Tensor) -> Tensor:
    """Gradient with respect to matrix [N, R, 4]."""
    shape = (grad_out.shape[0], grad_out.shape[2], 4)
    return sum_into(shape, grad_out.dtype, len(points), add_matrix_gradient, *arrays(grad_out, points))
