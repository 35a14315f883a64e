"""Total variation and its gradient on the CPU, by rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.ops.as_numpy import COLOR, as_numpy
from diffrender.ops.tangents import products_with_gradients
from diffrender.threads import parallel_for

# Minimum number of texels per thread.
GRAIN = 16384


@njit(nogil=True, cache=True)
def squared_step(row, x, other, y, n_channels):
    """Return the squared length of the difference of texel x of a row [W C] and texel y of another."""
    squared = row.dtype.type(0)
    for c in range(n_channels):
        difference = other[y * n_channels + c] - row[x * n_channels + c]
        squared += difference * difference
    return squared


@njit(nogil=True, cache=True)
def sum_rows_of(start, end, n_channels, texels, covered, weights, small, sums):
    """Write the sums and numbers of the steps from the rows start..end-1 downwards and to the right."""
    height, width = covered.shape
    floor = small * small
    for y in range(start, end):
        row, below = texels[y], texels[min(y + 1, height - 1)]
        total, count = 0.0, 0
        for x in range(width):
            if not covered[y, x]:
                continue
            if y + 1 < height and covered[y + 1, x]:
                length = np.sqrt(squared_step(row, x, below, x, n_channels) + floor) - small
                total += length * weights[0, y, x] if len(weights) else length
                count += 1
            if x + 1 < width and covered[y, x + 1]:
                length = np.sqrt(squared_step(row, x, row, x + 1, n_channels) + floor) - small
                total += length * weights[1, y, x] if len(weights) else length
                count += 1
        sums[y, 0], sums[y, 1] = total, count


@njit(nogil=True, cache=True)
def sum_rows(start, end, n_channels, *arguments):
    """Do the same; the usual number of channels is known to the compiler."""
    if n_channels == COLOR:
        sum_rows_of(start, end, COLOR, *arguments)
    else:
        sum_rows_of(start, end, n_channels, *arguments)


@njit(nogil=True, cache=True)
def scatter_rows_of(start, end, n_channels, texels, covered, weights, small, scale, out):
    """Write the gradients of the texels in rows start..end-1, times `scale`.

    A texel gets its share of the step from above first, whichever piece it is in, so that its bits are the same.
    """
    height, width = covered.shape
    floor = small * small
    out[start] = 0
    for y in range(max(start - 1, 0), end):
        is_own, has_below = y >= start, y + 1 < end
        row, below = texels[y], texels[min(y + 1, height - 1)]
        to_row, to_below = out[y], out[min(y + 1, height - 1)]
        if is_own and has_below:
            to_below[:] = 0
        for x in range(width):
            if not covered[y, x]:
                continue
            if y + 1 < height and covered[y + 1, x]:
                share = scale / np.sqrt(squared_step(row, x, below, x, n_channels) + floor)
                if len(weights):
                    share *= weights[0, y, x]
                for i in range(x * n_channels, (x + 1) * n_channels):
                    change = share * (below[i] - row[i])
                    if is_own:
                        to_row[i] -= change
                    if has_below:
                        to_below[i] += change
            if is_own and x + 1 < width and covered[y, x + 1]:
                share = scale / np.sqrt(squared_step(row, x, row, x + 1, n_channels) + floor)
                if len(weights):
                    share *= weights[1, y, x]
                for i in range(x * n_channels, (x + 1) * n_channels):
                    change = share * (row[i + n_channels] - row[i])
                    to_row[i] -= change
                    to_row[i + n_channels] += change


@njit(nogil=True, cache=True)
def scatter_rows(start, end, n_channels, *arguments):
    """Do the same; the usual number of channels is known to the compiler."""
    if n_channels == COLOR:
        scatter_rows_of(start, end, COLOR, *arguments)
    else:
        scatter_rows_of(start, end, n_channels, *arguments)


def _inputs(texels: Tensor, small: float, covered: Tensor | None, weights: Tensor | None) -> tuple[object, ...]:
    """Return the arguments that both kernels take; no weights are an empty array."""
    height, width, n_channels = texels.shape
    covered = torch.ones(height, width, dtype=torch.bool, device="cpu") if covered is None else covered
    weights = texels.new_empty(0, 0, 0) if weights is None else weights
    flat, *others = as_numpy(texels.reshape(height, width * n_channels), covered, weights)
    return n_channels, flat, *others, flat.dtype.type(small)


def _grain(texels: Tensor) -> int:
    return max(1, GRAIN // max(1, texels.shape[1]))


def forward(texels: Tensor, small: float, *others: Tensor | None) -> tuple[Tensor, Tensor]:
    """See op.total_variation."""
    sums = np.zeros((len(texels), 2))
    parallel_for(sum_rows, len(texels), _grain(texels), *_inputs(texels, small, *others), sums)
    total, number = sums.sum(0)
    return texels.new_tensor(total), torch.tensor(int(number), device="cpu")


def backward(
    grad_total: Tensor,
    grad_number: Tensor | None,
    texels: Tensor,
    small: float,
    covered: Tensor | None,
    weights: Tensor | None,
    wants: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """See run_differentiable."""
    if texels.numel() == 0:
        return torch.zeros_like(texels), *[None] * 3
    out = memory.empty(texels.shape, texels.dtype)
    inputs = _inputs(texels, small, covered, weights)
    (flat,) = as_numpy(out.reshape(len(texels), -1))
    parallel_for(scatter_rows, len(texels), _grain(texels), *inputs, flat.dtype.type(float(grad_total)), flat)
    return out, *[None] * 3


def jvp(
    tangents: Sequence[Tensor | None], texels: Tensor, small: float, *others: Tensor | None
) -> tuple[Tensor | None, ...]:
    """See run_differentiable: one number."""
    return products_with_gradients(backward, tangents, (texels.new_zeros(()), None), texels, small, *others)
