"""Sum the gradients of many samples into few vertices, in an order that does not depend on the threads."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from diffrender import memory
from diffrender.threads import parallel_for

# The greatest number of partial sums; a constant, so that the order of summation is always the same.
MOST_PARTS = 8
# The greatest number of entries in all of them together per item, about as many as an item has itself: memory stays in
# proportion to the image, and the sums cost less to clear and to add than they save.
ENTRIES_PER_ITEM = 16


def sum_into(
    shape: tuple[int, ...], dtype: torch.dtype, n_items: int, kernel: Callable[..., None], *arguments: object
) -> Tensor:
    """Return the sum, of `shape`, of what `kernel(first, last, total, *arguments)` adds to `total` for all items.

    The items are cut into a fixed number of parts, each with its own total; the totals are added in order. There are
    fewer parts where the totals would cost more memory than the items themselves.
    """
    size = math.prod(shape)
    most = min(MOST_PARTS, n_items // 2048, ENTRIES_PER_ITEM * n_items // max(1, size))
    n_parts = 1 << max(0, most.bit_length() - 1)  # a power of two, which shares out evenly among threads
    totals = memory.zeros((n_parts, *shape), dtype)
    array = totals.numpy()

    def add_parts(start: int, end: int) -> None:
        for part in range(start, end):
            kernel(part * n_items // n_parts, (part + 1) * n_items // n_parts, array[part], *arguments)

    parallel_for(add_parts, n_parts, 1)
    return totals[0] if n_parts == 1 else totals.sum(0)
