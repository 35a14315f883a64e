"""The sum of an image pyramid and its gradient on the CPU: level by level, each row of a result by one thread."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.threads import parallel_for

Sizes = tuple[tuple[int, int], ...]
# Minimum count of numbers per thread.
GRAIN = 32768


@njit(nogil=True, cache=True)
def add_enlarged(start, end, own, share, coarse, n_channels, closed, out):
    """Write rows start..end-1 of `share` times `own` [2 h, 2 w C] plus the enlarged `coarse` [h, w C]."""
    height, size = coarse.shape
    far, near, own_share = out.dtype.type(0.25), out.dtype.type(0.75), out.dtype.type(share)
    wide = np.empty(size + 2 * n_channels, out.dtype)  # a row of `coarse`, with a texel more at either end
    row = wide[n_channels : n_channels + size]
    for y in range(start, end):
        here = coarse[y // 2]
        other = coarse[min(max(y // 2 + 2 * (y % 2) - 1, 0), height - 1)]
        for i in range(size):
            row[i] = near * here[i] + far * other[i]
        for c in range(n_channels):
            wide[c] = row[size - n_channels + c] if closed else row[c]
            wide[n_channels + size + c] = row[c] if closed else row[size - n_channels + c]
        for x in range(size // n_channels):
            for c in range(n_channels):
                middle = x * n_channels + c
                left = 2 * x * n_channels + c
                right = left + n_channels
                value = near * row[middle]
                out[y, left] = own_share * own[y, left] + value + far * wide[middle]
                out[y, right] = own_share * own[y, right] + value + far * wide[middle + 2 * n_channels]


@njit(nogil=True, cache=True)
def shrink_gradient(start, end, fine, n_channels, closed, out):
    """Write rows start..end-1 of the gradient of a level, [h, w C], from that of its enlarged image, [2 h, 2 w C]."""
    height, size = out.shape
    far, near = out.dtype.type(0.25), out.dtype.type(0.75)
    wide = np.empty(2 * size + 2 * n_channels, out.dtype)
    row = wide[n_channels : n_channels + 2 * size]
    for y in range(start, end):
        # A row's own two, and those of its neighbours that are next to it; at a border it is its own neighbour.
        above, below = fine[max(2 * y - 1, 0)], fine[min(2 * y + 2, 2 * height - 1)]
        for i in range(2 * size):
            row[i] = near * (fine[2 * y, i] + fine[2 * y + 1, i]) + far * (above[i] + below[i])
        last = 2 * size - n_channels
        for c in range(n_channels):
            wide[c] = row[last + c] if closed else row[c]
            wide[n_channels + 2 * size + c] = row[c] if closed else row[last + c]
        for x in range(size // n_channels):
            for c in range(n_channels):
                at = 2 * x * n_channels + c
                beside = wide[at] + wide[at + 3 * n_channels]
                out[y, x * n_channels + c] = near * (row[at] + row[at + n_channels]) + far * beside


def forward(texels: Tensor, sizes: Sizes, coarse_share: float, closed: bool) -> Tensor:
    """See op.collapse_pyramid."""
    n_channels = texels.shape[1]
    out = memory.empty((*sizes[0], n_channels), texels.dtype)
    levels = _levels(texels.detach().contiguous(), sizes)
    total = levels[-1] * levels[-1].dtype.type(coarse_share)
    for index in range(len(sizes) - 2, -1, -1):
        own = levels[index]
        share, into = (coarse_share, np.empty_like(own)) if index else (1.0, out.numpy().reshape(own.shape))
        parallel_for(add_enlarged, len(own), _grain(own), own, share, total, n_channels, closed, into)
        total = into
    return out


def backward(grad: Tensor, sizes: Sizes, coarse_share: float, closed: bool) -> Tensor:
    """Return the gradient of all levels [L, C] from that of the image."""
    n_channels = grad.shape[2]
    out = memory.empty((sum(rows * columns for rows, columns in sizes), n_channels), grad.dtype)
    out[: sizes[0][0] * sizes[0][1]].copy_(grad.reshape(-1, n_channels))
    levels = _levels(out, sizes)
    for fine, coarse in pairwise(levels):
        parallel_for(shrink_gradient, len(coarse), _grain(fine) // 2 or 1, fine, n_channels, closed, coarse)
    for coarse in levels[1:]:
        coarse *= coarse.dtype.type(coarse_share)
    return out


def _levels(texels: Tensor, sizes: Sizes) -> list[np.ndarray]:
    """Return the levels as arrays [h, w C]."""
    parts = texels.split([rows * columns for rows, columns in sizes])
    return [part.reshape(rows, -1).numpy() for part, (rows, _) in zip(parts, sizes, strict=True)]


def _grain(image: np.ndarray) -> int:
    return max(1, GRAIN // max(1, image.shape[1]))
