"""Whether points that were at the same place still are, and others still are not."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from diffrender.derivatives import constant
from diffrender.threads import parallel_for

# Minimum number of pairs per thread.
GRAIN = 16384


@njit(nogil=True, cache=True)
def _find_parted(start, end, points, first, second, parted):
    """Set parted[0] if any of the pairs start..end-1 is at two places; no thread sets it back."""
    coincide = True
    for p in range(start, end):
        a, b = np.uint64(first[p]), np.uint64(second[p])  # unsigned: nothing is counted from the end
        for c in range(points.shape[1]):
            coincide &= points[a, c] == points[b, c]
    if not coincide:
        parted[0] = True


def all_coincide(points: Tensor, first: Tensor, second: Tensor) -> bool:
    """Return whether points [V, C] at `first` [P] equal those at `second` [P]; NaN equals nothing."""
    if len(first) == 0:
        return True
    if points.device.type != "cpu":
        return torch.equal(points.index_select(0, first), points.index_select(0, second))
    parted = np.zeros(1, np.bool_)
    arrays = (constant(part).contiguous().numpy() for part in (points, first, second))
    parallel_for(_find_parted, len(first), GRAIN, *arrays, parted)
    return not bool(parted[0])


@njit(nogil=True, cache=True)
def _find_equal(rows, bits, table):
    """Return whether any two of rows [B, C] are equal; bits: the same as integers, table: -1, longer, a power of 2."""
    mask = np.uint64(len(table) - 1)
    for row in range(len(rows)):
        mixed = np.uint64(0)
        is_number = True
        for c in range(rows.shape[1]):
            mixed = (mixed ^ np.uint64(bits[row, c])) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
            is_number &= rows[row, c] == rows[row, c]
        slot = mixed & mask
        while is_number and table[slot] >= 0:
            other = table[slot]
            is_equal = True
            for c in range(rows.shape[1]):
                is_equal &= rows[row, c] == rows[other, c]
            if is_equal:
                return True
            slot = (slot + np.uint64(1)) & mask
        if is_number:
            table[slot] = row
    return False


def any_coincide(points: Tensor, index: Tensor) -> bool:
    """Return whether any two of points [V, C] at `index` [B] are equal; NaN equals nothing."""
    rows = constant(points).index_select(0, index) + 0.0  # -0.0 becomes 0.0, which it equals
    if len(rows) < 2:
        return False
    if rows.device.type != "cpu":
        # Equal rows have equal sums; only where those are is there more to look at.
        sums = (rows.double() * rows.new_tensor([1.0, 2**0.5, 3**0.5], dtype=torch.float64)).sum(1)
        return len(torch.unique(sums)) < len(rows) and len(torch.unique(rows, dim=0)) < len(rows)
    array = rows.numpy()
    table = np.full(1 << (2 * len(array)).bit_length(), -1, np.int64)
    return bool(_find_equal(array, array.view(f"i{array.itemsize}"), table))
