"""Memory of the kernels' results on the CPU, which is kept for the next image.

Every image asks for the same tens of megabytes. The allocator returns large blocks to the system at once, which has to
clear each of their pages again: up to a third of an image's time.
"""

from __future__ import annotations

import math
import os
import sys
from collections import deque
from collections.abc import Sequence
from threading import Lock

import numpy as np
import torch
from torch import Tensor

# Smaller results come from PyTorch's own allocator.
LEAST_BYTES = 1 << 18
# The greatest size of all blocks that are kept while nothing uses them, and how many requests they wait for.
MOST_BYTES = 1 << 29
PATIENCE = 2000
ALIGNMENT = 64
_NUMPY_OF = {
    getattr(torch, name): np.dtype(name)
    for name in ("float32", "float64", "int64", "int32", "int16", "int8", "uint8", "bool")
}


def empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return a tensor on the CPU with any contents, in memory that another used before, if there is such."""
    n_bytes = math.prod(shape) * dtype.itemsize
    if n_bytes < LEAST_BYTES or dtype not in _NUMPY_OF:
        return torch.empty(tuple(shape), dtype=dtype, device="cpu")
    block = _kept.take(_round_up(n_bytes))
    # The tensor's storage, and so all views of it, hold this array. NumPy's own views of it would not.
    array = _Borrowed(shape, _NUMPY_OF[dtype], block)
    array.kept = _kept
    return torch.from_numpy(array)


def zeros(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return zeros as `empty` does."""
    return empty(shape, dtype).zero_()


def _round_up(n_bytes: int) -> int:
    """Return one of eight sizes per power of two, so that results of about the same size share blocks."""
    step = 1 << max(0, n_bytes.bit_length() - 4)
    return -(-n_bytes // step) * step


class _Borrowed(np.ndarray):
    """An array on a block, which it gives back when it dies."""

    kept: _KeptBlocks | None = None
    # When a program ends, the names of this module may be gone before the last tensors are.
    is_ending = staticmethod(sys.is_finalizing)

    def __del__(self) -> None:
        if self.kept is not None and not self.is_ending():
            self.kept.give_back(self.base)  # type: ignore[arg-type]


class _KeptBlocks:
    """Blocks that nothing uses now.

    A block comes back when the last tensor on it dies, which may be at any moment and in any thread, also in the middle
    of `take`: it waits in a queue, and `take` alone, one thread at a time, orders the blocks.
    """

    def __init__(self) -> None:
        self.returned: deque[np.ndarray] = deque()
        self.blocks: dict[int, list[tuple[int, np.ndarray]]] = {}  # by size: (number of requests before, block)
        self.n_bytes = 0
        self.n_requests = 0
        self.lock = Lock()

    def take(self, size: int) -> np.ndarray:
        """Return a block of `size` bytes, the last one used if there are several."""
        with self.lock:
            self.n_requests += 1
            while self.returned:
                came = self.returned.popleft()
                self.blocks.setdefault(len(came), []).append((self.n_requests, came))
                self.n_bytes += len(came)
            kept = self.blocks.get(size)
            block = kept.pop()[1] if kept else None
            self.n_bytes -= 0 if block is None else size
            if self.n_requests % PATIENCE == 0:
                self._drop_unused()
        if block is None:
            memory = np.empty(size + ALIGNMENT, np.uint8)
            start = -memory.ctypes.data % ALIGNMENT
            block = memory[start : start + size]
        return block

    def _drop_unused(self) -> None:
        """Drop the blocks that came back before the last PATIENCE requests."""
        for size, kept in self.blocks.items():
            recent = [entry for entry in kept if entry[0] > self.n_requests - PATIENCE]
            self.n_bytes -= size * (len(kept) - len(recent))
            kept[:] = recent

    def give_back(self, block: np.ndarray) -> None:
        """Keep a block for the next request of its size, if there is room."""
        if self.n_bytes + sum(map(len, tuple(self.returned))) + len(block) <= MOST_BYTES:
            self.returned.append(block)


_kept = _KeptBlocks()


def _forget_blocks() -> None:
    """In a forked process, where another thread may have held the lock."""
    global _kept
    _kept = _KeptBlocks()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_blocks)
