"""Weld the corners of a mesh that have one vertex and the same values."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor


@njit(nogil=True, cache=True)
def _number_corners(corners, values, newest, older, number, first):
    """Write the number of each corner, and the first corner of each number; return how many there are.

    newest[v]: the last number at a vertex so far; older[n]: the one before n there.
    """
    found = 0
    for corner in range(len(corners)):
        vertex = corners[corner]
        at = newest[vertex]
        while at >= 0 and not np.all(values[first[at]] == values[corner]):
            at = older[at]
        if at < 0:
            at = found
            first[at], older[at], newest[vertex] = corner, newest[vertex], at
            found += 1
        number[corner] = at
    return found


def weld_corners(faces: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the values [U, C] that differ at a vertex, and their indices [F, 3], in the order of the corners.

    faces: [F, 3] int64. values: [F, 3, C] at the corners. Both on the CPU. Corners at different vertices are not
    compared: what that would save in U costs a sort of all corners.
    """
    corners, flat = faces.reshape(-1).numpy(), values.detach().reshape(-1, values.shape[2])
    newest = np.full(int(faces.max()) + 1 if len(faces) else 0, -1)
    older, number, first = (np.empty(len(corners), np.int64) for _ in range(3))
    found = _number_corners(corners, flat.contiguous().numpy(), newest, older, number, first)
    return flat[torch.from_numpy(first[:found])], torch.from_numpy(number).reshape(-1, 3)
