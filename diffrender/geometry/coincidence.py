"""Whether pairs of points are still at the same place."""

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
