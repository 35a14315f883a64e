"""Sum the gradients of many lanes into few rows on CUDA: a run of neighbours on one face adds once.

The samples of an image come by pixel, and in a pixel by face, so neighbours are mostly on one face. Without this, every
pixel of a large face would wait for the same few addresses. A run ends with its warp, and is summed without shared
memory. Atomic additions come in any order: such sums are not reproducible to the bit.
"""

from __future__ import annotations

import triton
import triton.language as tl

WARP = tl.constexpr(32)


@triton.jit
def by_warps(values, BLOCK: tl.constexpr):
    """Return [BLOCK] as [BLOCK / WARP, WARP], where the rows are the warps: lanes stay where they are."""
    return tl.reshape(values, [BLOCK // WARP, WARP])


@triton.jit
def find_runs(key, here, BLOCK: tl.constexpr):
    """Return which lane of its warp each run of equal keys begins with, by warps, and which lanes here end one.

    Lanes that are not here must have another key than those that are.
    """
    lane, key = by_warps(tl.arange(0, BLOCK) % WARP, BLOCK), by_warps(key, BLOCK)
    before = tl.gather(key, tl.maximum(lane - 1, 0), 1)
    after = tl.gather(key, tl.minimum(lane + 1, WARP - 1), 1)
    first = tl.where(before == key, 0, lane)
    for power in tl.static_range(5):
        first = tl.maximum(first, tl.gather(first, tl.maximum(lane - (1 << power), 0), 1))
    return first, tl.reshape((after != key) | (lane == WARP - 1), [BLOCK]) & here


@triton.jit
def add_runs(total, at, values, first, last, BLOCK: tl.constexpr):
    """Add the sum of each run's values to total[at], where `at` is the same in all of a run."""
    lane, values = by_warps(tl.arange(0, BLOCK) % WARP, BLOCK), by_warps(values, BLOCK)
    for power in tl.static_range(5):
        other = lane - (1 << power)
        values += tl.where(other >= first, tl.gather(values, tl.maximum(other, 0), 1), 0.0)
    tl.atomic_add(total + at, tl.reshape(values, [BLOCK]), last, sem="relaxed")
