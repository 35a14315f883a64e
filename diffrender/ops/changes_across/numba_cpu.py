"""Changes across edges on the CPU. Arithmetic in float64."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.ops.as_numpy import as_numpy
from diffrender.threads import parallel_for

# Minimum number of edges per thread.
GRAIN = 16384


@njit(nogil=True, cache=True)
def compare(start, end, values, sides, least_squared, out):
    """Write the results for edges start..end-1."""
    for e in range(start, end):
        changes = False
        for t in range(2):
            a, b = np.uint64(sides[e, 0, t]), np.uint64(sides[e, 1, t])  # unsigned: nothing is counted from the end
            squared = 0.0
            for c in range(values.shape[1]):
                difference = np.float64(values[a, c]) - np.float64(values[b, c])
                squared += difference * difference
            changes |= squared > least_squared
        out[e] = changes


def forward(values: Tensor, sides: Tensor, least: float) -> Tensor:
    """See op.changes_across."""
    out = memory.empty((len(sides),), torch.bool)
    parallel_for(compare, len(sides), GRAIN, *as_numpy(values, sides), least**2, *as_numpy(out))
    return out
