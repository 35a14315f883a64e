"""A separable blur on the CPU: along the rows, then down the columns, each pass a sum of shifted rows."""

from __future__ import annotations

import numpy as np
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.threads import parallel_for

# Columns are blurred in bands of this many numbers, which fit the first-level cache.
BAND = 512


@njit(nogil=True, cache=True)
def blur_rows(start, end, images, n_channels, weights, out):
    """Blur the rows start..end-1 of images [rows, W C] along themselves."""
    size = images.shape[1]
    reach = len(weights) // 2
    wide = np.empty(size + 2 * reach * n_channels, images.dtype)
    for row in range(start, end):
        for k in range(reach):
            for c in range(n_channels):
                wide[k * n_channels + c] = images[row, c]
                wide[(reach + k) * n_channels + size + c] = images[row, size - n_channels + c]
        for i in range(size):  # an assignment of arrays would take a second more to compile
            wide[reach * n_channels + i] = images[row, i]
        total = out[row]
        total[:] = 0
        for k in range(len(weights)):
            weight = weights[k]
            shifted = wide[k * n_channels : k * n_channels + size]
            for i in range(size):
                total[i] += weight * shifted[i]


@njit(nogil=True, cache=True)
def blur_rows_backward(start, end, grad, n_channels, weights, out):
    """Write the transpose of blur_rows."""
    size = grad.shape[1]
    reach = len(weights) // 2
    wide = np.empty(size + 2 * reach * n_channels, grad.dtype)
    for row in range(start, end):
        wide[:] = 0
        source = grad[row]
        for k in range(len(weights)):
            weight = weights[k]
            shifted = wide[k * n_channels : k * n_channels + size]
            for i in range(size):
                shifted[i] += weight * source[i]
        for i in range(size):
            out[row, i] = wide[reach * n_channels + i]
        for k in range(reach):
            for c in range(n_channels):
                out[row, c] += wide[k * n_channels + c]
                out[row, size - n_channels + c] += wide[(reach + k) * n_channels + size + c]


@njit(nogil=True, cache=True)
def blur_columns(start, end, images, n_bands, weights, transpose, out):
    """Blur bands of columns of images [N, H, W C] downwards, or apply the transpose; item = view n_bands + band."""
    height, size = images.shape[1], images.shape[2]
    reach = len(weights) // 2
    for item in range(start, end):
        view = item // n_bands
        first = (item - view * n_bands) * BAND
        last = min(first + BAND, size)
        out[view, :, first:last] = 0
        for y in range(height):
            for k in range(len(weights)):
                weight = weights[k]
                other = min(max(y + k - reach, 0), height - 1)
                source = images[view, y if transpose else other, first:last]
                total = out[view, other if transpose else y, first:last]
                for i in range(last - first):
                    total[i] += weight * source[i]


def _passes(images: Tensor) -> tuple[np.ndarray, tuple[int, ...], int]:
    n_views, height, width, n_channels = images.shape
    return images.detach().contiguous().numpy(), (n_views, height, width * n_channels), n_channels


def forward(images: Tensor, weights: Tensor) -> Tensor:
    """See op.blur."""
    array, shape, n_channels = _passes(images)
    rows = memory.empty((shape[0] * shape[1], shape[2]), images.dtype).numpy()
    out = memory.empty(images.shape, images.dtype)
    n_bands = -(-shape[2] // BAND)
    parallel_for(blur_rows, len(rows), 64, array.reshape(rows.shape), n_channels, weights.numpy(), rows)
    arguments = (rows.reshape(shape), n_bands, weights.numpy(), False, out.numpy().reshape(shape))
    parallel_for(blur_columns, shape[0] * n_bands, 1, *arguments)
    return out


def backward(grad: Tensor, weights: Tensor) -> Tensor:
    """Return gradient with respect to images: the two passes transposed, in reverse order."""
    array, shape, n_channels = _passes(grad)
    columns = memory.empty(shape, grad.dtype).numpy()
    out = memory.empty(grad.shape, grad.dtype)
    n_bands = -(-shape[2] // BAND)
    arguments = (array.reshape(shape), n_bands, weights.numpy(), True, columns)
    parallel_for(blur_columns, shape[0] * n_bands, 1, *arguments)
    rows = columns.reshape(shape[0] * shape[1], shape[2])
    parallel_for(blur_rows_backward, len(rows), 64, rows, n_channels, weights.numpy(), out.numpy().reshape(rows.shape))
    return out
