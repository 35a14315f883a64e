"""Vectors and colours in compiled kernels, as triples of float64."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, forceinline=True)
def number(array, m):
    """Return row m of [M, 1], or the only row, in float64."""
    return np.float64(array[m if len(array) > 1 else 0, 0])


@njit(nogil=True, cache=True, forceinline=True)
def vector(array, m, s):
    """Return row (m, s) of [M, S, 3], or (0, s) where there is one row, in float64."""
    row = m if len(array) > 1 else 0
    return np.float64(array[row, s, 0]), np.float64(array[row, s, 1]), np.float64(array[row, s, 2])


@njit(nogil=True, cache=True, forceinline=True)
def dot(a, b):
    """Return a . b."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@njit(nogil=True, cache=True, forceinline=True)
def cross(a, b):
    """Return a x b."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@njit(nogil=True, cache=True, forceinline=True)
def plus(a, s, b):
    """Return a + s b."""
    return a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2]


@njit(nogil=True, cache=True, forceinline=True)
def put(array, m, value):
    """Write row m of [M, 3]; do nothing where the array is empty, as those of gradients not needed are."""
    if len(array) > 0:
        array[m, 0], array[m, 1], array[m, 2] = value


@njit(nogil=True, cache=True, forceinline=True)
def tangent_at(array, k, m, s):
    """Return row (k, m, s) of tangents [K, M, S, 3], or (k, 0, s) where one row serves all points, in float64."""
    row = m if array.shape[1] > 1 else 0
    return np.float64(array[k, row, s, 0]), np.float64(array[k, row, s, 1]), np.float64(array[k, row, s, 2])
