"""Mip levels and their gradient on the CPU: level by level, each row of the output by one thread."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.threads import parallel_for


def taps(size: int) -> np.ndarray:
    """Return [max(1, size // 2), K] weights of the texels 2 j, 2 j + 1 (and 2 j + 2 where `size` is odd) in texel j."""
    if size == 1:
        return np.ones((1, 1))
    half = size // 2
    if size % 2 == 0:
        return np.full((half, 2), 0.5)
    # Texel j covers j size / half to (j + 1) size / half: a part of its first and last texel, all of the middle one.
    j = np.arange(half)
    return np.stack([half - j, np.full(half, half), j + 1], 1) / size


@njit(nogil=True, cache=True)
def shrink_rows(start, end, fine, row_taps, column_taps, coarse):
    """Write the rows start..end-1 of `coarse` [h, w, C] from `fine` [H, W, C]."""
    for i in range(start, end):
        for j in range(coarse.shape[1]):
            for c in range(coarse.shape[2]):
                total = 0.0
                for a in range(row_taps.shape[1]):
                    for b in range(column_taps.shape[1]):
                        total += row_taps[i, a] * column_taps[j, b] * fine[2 * i + a, 2 * j + b, c]
                coarse[i, j, c] = total


@njit(nogil=True, cache=True)
def shrink_even_rows(start, end, fine, coarse):
    """Write the same where both sizes are even, several times as fast."""
    for i in range(start, end):
        for j in range(coarse.shape[1]):
            for c in range(coarse.shape[2]):
                above = fine[2 * i, 2 * j, c] + fine[2 * i, 2 * j + 1, c]
                below = fine[2 * i + 1, 2 * j, c] + fine[2 * i + 1, 2 * j + 1, c]
                coarse[i, j, c] = (above + below) * 0.25


@njit(nogil=True, cache=True)
def scatter_rows(start, end, given, coarse, row_taps, column_taps, first, step, out):
    """Write the rows start..end-1 of a level's gradient: `given` [H, W, C], and its texels' share of that of the next
    level, `coarse` [h, w, C].

    Channel c of texel number n = i W + j goes to out[first[c] + n step[c]].
    """
    channels = given.shape[2]
    for i in range(start, end):
        for j in range(given.shape[1]):
            n = i * given.shape[1] + j
            for c in range(channels):
                out[first[c] + n * step[c]] = given[i, j, c]
            # The coarse texels that texel (i, j) is the tap 0 or 1 of, or the tap 2 (of the one before).
            for coarse_i in range(i // 2 - 1, i // 2 + 1):
                a = i - 2 * coarse_i
                if coarse_i < 0 or coarse_i >= coarse.shape[0] or a >= row_taps.shape[1]:
                    continue
                for coarse_j in range(j // 2 - 1, j // 2 + 1):
                    b = j - 2 * coarse_j
                    if coarse_j < 0 or coarse_j >= coarse.shape[1] or b >= column_taps.shape[1]:
                        continue
                    weight = row_taps[coarse_i, a] * column_taps[coarse_j, b]
                    for c in range(channels):
                        out[first[c] + n * step[c]] += weight * coarse[coarse_i, coarse_j, c]


@njit(nogil=True, cache=True)
def scatter_even_rows(start, end, given, coarse, first, step, out):
    """Write the same where both sizes are even."""
    for i in range(start, end):
        for j in range(coarse.shape[1]):
            n = i * given.shape[1] + 2 * j
            for c in range(given.shape[2]):
                quarter = coarse[i // 2, j, c] * 0.25
                at = first[c] + n * step[c]
                out[at] = given[i, 2 * j, c] + quarter
                out[at + step[c]] = given[i, 2 * j + 1, c] + quarter


def forward(images: Sequence[Tensor], sizes: tuple[tuple[int, int], ...]) -> Tensor:
    """See op.mip_pyramid; [T, C]."""
    channels = sum(image.shape[2] for image in images)
    out = memory.empty((sum(height * width for height, width in sizes), channels), images[0].dtype)
    height, width = sizes[0]
    finest = out[: height * width].unflatten(0, (height, width))
    torch.cat([image.detach() for image in images], 2, out=finest)
    for fine, coarse in pairwise(_levels(out.numpy(), sizes)):
        if _is_even(fine):
            parallel_for(shrink_even_rows, len(coarse), _grain(coarse), fine, coarse)
        else:
            parallel_for(shrink_rows, len(coarse), _grain(coarse), fine, *_taps_of(fine), coarse)
    return out


def backward(grad: Tensor, sizes: tuple[tuple[int, int], ...], channels: Sequence[int]) -> tuple[Tensor, ...]:
    """Return the gradients of images with these numbers of channels, from that of all levels [T, C]."""
    levels = _levels(grad.contiguous().numpy(), sizes)
    height, width = sizes[0]
    total = levels[-1]
    for index in range(len(sizes) - 2, 0, -1):
        # A level is needed as it is: texel by texel, all channels together.
        joined = np.empty_like(levels[index])
        _scatter(levels[index], total, [joined.shape[2]], joined.reshape(-1))
        total = joined
    # The finest, image by image.
    out = memory.empty((levels[0].size,), grad.dtype)
    _scatter(levels[0], total, channels, out.numpy())
    parts = out.split([height * width * count for count in channels])
    return tuple(part.reshape(height, width, count) for part, count in zip(parts, channels, strict=True))


def _scatter(given: np.ndarray, coarse: np.ndarray, channels: Sequence[int], out: np.ndarray) -> None:
    """Write the gradient of a level to the flat `out`, as images with these channels, one after the other."""
    ends = np.cumsum(channels)
    n_texels = given.shape[0] * given.shape[1]
    first = np.concatenate(
        [n_texels * (end - count) + np.arange(count) for end, count in zip(ends, channels, strict=True)]
    )
    layout = (first, np.repeat(np.asarray(channels), channels))
    if _is_even(given):
        parallel_for(scatter_even_rows, len(given), _grain(given), given, coarse, *layout, out)
    else:
        parallel_for(scatter_rows, len(given), _grain(given), given, coarse, *_taps_of(given), *layout, out)


def _levels(flat: np.ndarray, sizes: tuple[tuple[int, int], ...]) -> list[np.ndarray]:
    ends = np.cumsum([height * width for height, width in sizes])
    parts = np.split(flat, ends[:-1])
    return [part.reshape(*size, flat.shape[1]) for part, size in zip(parts, sizes, strict=True)]


def _is_even(image: np.ndarray) -> bool:
    return image.shape[0] % 2 == 0 and image.shape[1] % 2 == 0


def _taps_of(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the taps of its rows and columns."""
    return taps(image.shape[0]), taps(image.shape[1])


def _grain(image: np.ndarray) -> int:
    """Return the minimum number of rows per thread."""
    return max(1, 32768 // max(1, image.shape[1] * image.shape[2]))
