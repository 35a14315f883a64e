"""Unit normals on the CPU. Arithmetic in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.geometry.normals import LEAST_SHARE, LEAST_SUM
from diffrender.ops.as_numpy import as_numpy
from diffrender.ops.scatter import sum_into
from diffrender.ops.vec3 import cross, dot, plus
from diffrender.threads import parallel_for

# Minimum number of normals per thread.
GRAIN = 16384
F64 = torch.float64


@njit(nogil=True, cache=True, forceinline=True)
def row_of(array, v):
    """Return a row in float64."""
    return np.float64(array[v, 0]), np.float64(array[v, 1]), np.float64(array[v, 2])


@njit(nogil=True, cache=True, forceinline=True)
def sides_of(array, faces, f):
    """Return what is from the first corner of a face to the second and to the third."""
    a = row_of(array, faces[f, 0])
    return plus(row_of(array, faces[f, 1]), -1.0, a), plus(row_of(array, faces[f, 2]), -1.0, a)


@njit(nogil=True, cache=True, forceinline=True)
def normal_of(first, second):
    """Return the normal of a face, and its length: 0 where it has none."""
    normal = cross(first, second)
    length = math.sqrt(dot(normal, normal))
    return normal, length if length > LEAST_SHARE * (dot(first, first) + dot(second, second)) else 0.0


@njit(nogil=True, cache=True, forceinline=True)
def add(total, row, value):
    """Add to a row."""
    total[row, 0] += value[0]
    total[row, 1] += value[1]
    total[row, 2] += value[2]


@njit(nogil=True, cache=True)
def add_normals(start, end, total, vertices, faces, numbers):
    """Add the normals of the faces start..end-1, and their lengths, to what their corners have [K, 4]."""
    for f in range(start, end):
        normal, length = normal_of(*sides_of(vertices, faces, f))
        if length > 0.0:
            for c in range(3):
                add(total, numbers[f, c], normal)
                total[numbers[f, c], 3] += length


@njit(nogil=True, cache=True)
def add_gradients(start, end, total, slopes, vertices, faces, numbers):
    """Add the gradients of the faces start..end-1 to those of vertices [V, 3]. slopes: [K, 3] those of the sums."""
    for f in range(start, end):
        first, second = sides_of(vertices, faces, f)
        _, length = normal_of(first, second)
        if length > 0.0:
            slope = plus(row_of(slopes, numbers[f, 0]), 1.0, row_of(slopes, numbers[f, 1]))
            slope = plus(slope, 1.0, row_of(slopes, numbers[f, 2]))
            of_first, of_second = cross(second, slope), cross(slope, first)
            add(total, faces[f, 1], of_first)
            add(total, faces[f, 2], of_second)
            add(
                total,
                faces[f, 0],
                (-of_first[0] - of_second[0], -of_first[1] - of_second[1], -of_first[2] - of_second[2]),
            )


@njit(nogil=True, cache=True)
def add_tangents(start, end, total, tangents, vertices, faces, numbers):
    """Add the tangents of the normals of the faces start..end-1 to those of the sums [T, K, 3]."""
    for f in range(start, end):
        first, second = sides_of(vertices, faces, f)
        _, length = normal_of(first, second)
        if length > 0.0:
            for k in range(len(tangents)):
                d_first, d_second = sides_of(tangents[k], faces, f)
                moved = plus(cross(d_first, second), 1.0, cross(first, d_second))
                for c in range(3):
                    add(total[k], numbers[f, c], moved)


@njit(nogil=True, cache=True, forceinline=True)
def unit_of(total, m):
    """Return a sum divided by its length, and 1 / that; zeros where it is not defined."""
    x, y, z = row_of(total, m)
    length = math.sqrt(x * x + y * y + z * z)
    scale = 1.0 / length if length > LEAST_SUM * total[m, 3] else 0.0
    return (x * scale, y * scale, z * scale), scale


@njit(nogil=True, cache=True)
def divide(start, end, total, out):
    """Write the unit normals start..end-1."""
    for m in range(start, end):
        unit, _ = unit_of(total, m)
        out[m, 0], out[m, 1], out[m, 2] = unit


@njit(nogil=True, cache=True)
def turn(start, end, total, given, out):
    """Write each of the given gradients or tangents [T, K, 3], without its part along the normal, over the length."""
    for m in range(start, end):
        unit, scale = unit_of(total, m)
        for k in range(len(given)):
            g = row_of(given[k], m)
            x, y, z = plus(g, -dot(g, unit), unit)
            out[k, m, 0], out[k, m, 1], out[k, m, 2] = x * scale, y * scale, z * scale


def forward(vertices: Tensor, faces: Tensor, normal_faces: Tensor, n_normals: int) -> Tensor:
    """See op.smooth_normals."""
    out = memory.empty((n_normals, 3), vertices.dtype)
    total = _sums(*as_numpy(vertices, faces, normal_faces), n_normals)
    parallel_for(divide, n_normals, GRAIN, *as_numpy(total, out))
    return out


def backward(
    grad_out: Tensor, vertices: Tensor, faces: Tensor, normal_faces: Tensor, n_normals: int, wants: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """See run_differentiable."""
    mesh = as_numpy(vertices, faces, normal_faces)
    slopes = memory.empty((1, n_normals, 3), F64)
    parallel_for(turn, n_normals, GRAIN, *as_numpy(_sums(*mesh, n_normals), grad_out[None], slopes))
    total = sum_into(tuple(vertices.shape), F64, len(faces), add_gradients, slopes[0].numpy(), *mesh)
    return total.to(vertices.dtype), None, None, None


def jvp(
    tangents: Sequence[Tensor | None], vertices: Tensor, faces: Tensor, normal_faces: Tensor, n_normals: int
) -> Tensor:
    """See run_differentiable."""
    moved = tangents[0]
    assert moved is not None
    mesh, shape = as_numpy(vertices, faces, normal_faces), (len(moved), n_normals, 3)
    out = memory.empty(shape, vertices.dtype)
    total = sum_into(shape, F64, len(faces), add_tangents, *as_numpy(moved), *mesh)
    parallel_for(turn, n_normals, GRAIN, *as_numpy(_sums(*mesh, n_normals), total, out))
    return out


def _sums(vertices: np.ndarray, faces: np.ndarray, normal_faces: np.ndarray, n_normals: int) -> Tensor:
    """Return the sums of the normals of faces, and of their lengths: [K, 4] float64."""
    return sum_into((n_normals, 4), F64, len(faces), add_normals, vertices, faces, normal_faces)
