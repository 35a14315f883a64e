"""A separable blur on the CPU: bands of columns, in which blurred rows wait for those that they are added up with."""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.ops.as_numpy import as_numpy
from diffrender.threads import parallel_for

# The waiting rows of a band have about WAITING numbers in all, which fit the caches of a core, and at least BAND each:
# shorter loops cost more to begin than to run. Fewer than LEAST_BANDS in all would leave threads without work.
WAITING, BAND, LEAST_BANDS = 1 << 15, 512, 8
ALL = slice(None)


@njit(nogil=True, cache=True)
def scale(row, weight, out):
    """Write `weight` times a row. Loops over rows are functions of their own, since only those become vectors."""
    for i in range(len(out)):
        out[i] = weight * row[i]


@njit(nogil=True, cache=True)
def add(row, weight, out):
    """Add `weight` times a row."""
    for i in range(len(out)):
        out[i] += weight * row[i]


@njit(nogil=True, cache=True)
def add_pair(before, after, weight, out):
    """Add `weight` times the sum of two rows."""
    for i in range(len(out)):
        out[i] += weight * (before[i] + after[i])


@njit(nogil=True, cache=True)
def blur_row(source, first, n_channels, weights, tails, transpose, wide, out):
    """Write the numbers first..first+len(out)-1 of a row [W C], blurred along itself, or those of the transpose.

    tails: the sums of the weights beyond each offset. wide: scratch.
    """
    size, n = len(source), len(out)
    reach = len(weights) // 2
    margin = reach * n_channels
    low, high = max(0, margin - first), min(n + 2 * margin, size - first + margin)
    scale(source[first - margin + low : first - margin + high], source.dtype.type(1), wide[low:high])
    # What is outside: the border pixel, or nothing for the transpose.
    for c in range(n_channels):
        before, after = source[c], source[size - n_channels + c]
        for i in range(c, low, n_channels):
            wide[i] = 0 if transpose else before
        for i in range(high + c, n + 2 * margin, n_channels):
            wide[i] = 0 if transpose else after
    scale(wide[margin : margin + n], weights[reach], out)
    for k in range(1, reach + 1):
        shift = k * n_channels
        add_pair(
            wide[margin - shift : margin - shift + n],
            wide[margin + shift : margin + shift + n],
            weights[reach + k],
            out,
        )
    if transpose:
        # What the blur reads of the border pixels, they get back.
        n_pixels = size // n_channels
        for k in range(min(reach, n_pixels)):
            for c in range(n_channels):
                if first == 0:
                    out[c] += tails[k] * source[k * n_channels + c]
                if first + n == size:
                    out[n - n_channels + c] += tails[k] * source[size - (k + 1) * n_channels + c]


@njit(nogil=True, cache=True)
def add_rows(rows, y, height, weights, transpose, out):
    """Write the sum of the rows around y, of which `rows` [R, n] holds the last ones, each at its number modulo R."""
    n_taps, n_rows = len(weights), len(rows)
    reach = n_taps // 2
    n = len(out)
    if reach <= y < height - reach:
        scale(rows[y % n_rows, :n], weights[reach], out)
        for k in range(1, reach + 1):
            add_pair(rows[(y - k) % n_rows, :n], rows[(y + k) % n_rows, :n], weights[reach + k], out)
        return
    out[:] = 0
    # The transpose takes nothing from outside; the blur takes the border.
    low, high = (max(0, reach - y), min(n_taps, height + reach - y)) if transpose else (0, n_taps)
    for k in range(low, high):
        other = min(max(y + k - reach, 0), height - 1)
        add(rows[other % n_rows, :n], weights[k], out)


@njit(nogil=True, cache=True)
def blur_bands(start, end, images, band, n_channels, first_channel, last_channel, weights, tails, transpose, out):
    """Blur bands of `band` columns of images [N, H, W C], or apply the transpose; item = view n_bands + band.

    Channels below `first_channel` and from `last_channel` on are copied.
    """
    height, size = images.shape[1], images.shape[2]
    n_bands = -(-size // band)
    n_taps = len(weights)
    reach = n_taps // 2
    wide = np.empty(band + 2 * reach * n_channels, images.dtype)
    rows = np.empty((min(n_taps, height), band), images.dtype)
    scratch = np.empty(band, images.dtype)
    one = images.dtype.type(1)
    top, bottom = (-reach, height + reach) if transpose else (0, height)
    for item in range(start, end):
        view = item // n_bands
        left = (item - view * n_bands) * band
        n = min(band, size - left)
        total = scratch[:n]
        known = 0
        for y in range(top, bottom):
            while known < min(y + reach + 1, height):
                blur_row(
                    images[view, known], left, n_channels, weights, tails, transpose, wide, rows[known % len(rows), :n]
                )
                known += 1
            add_rows(rows, y, height, weights, transpose, total)
            inside = min(max(y, 0), height - 1)
            for c in range(n_channels):
                if not first_channel <= c < last_channel:
                    for i in range(c, n, n_channels):
                        total[i] = images[view, y, left + i] if y == inside else 0
            # Rows beyond a border are those of the border.
            target = out[view, inside, left : left + n]
            if y == top or 0 < y < height:
                scale(total, one, target)
            else:
                add(total, one, target)


@njit(nogil=True, cache=True)
def slope_bands(
    start, end, grad, images, where, band, n_channels, first_channel, last_channel, weights, slopes, tails, sums
):  # fmt: skip
    """Write, of each band, the sum over some channels of `grad` times the derivative of the blur by its sigma.

    slopes: the derivatives of the weights. where: [N, H, W] bool of the pixels that count, or [0, 0, 0] if all do.
    """
    height, size = images.shape[1], images.shape[2]
    n_bands = -(-size // band)
    n_taps = len(weights)
    reach = n_taps // 2
    wide = np.empty(band + 2 * reach * n_channels, images.dtype)
    rows = np.empty((min(n_taps, height), band), images.dtype)
    sloping = np.empty_like(rows)
    scratch, other_scratch = np.empty(band, images.dtype), np.empty(band, images.dtype)
    for item in range(start, end):
        view = item // n_bands
        left = (item - view * n_bands) * band
        n = min(band, size - left)
        pixel, n_pixels = left // n_channels, n // n_channels
        total, other = scratch[:n], other_scratch[:n]
        known = 0
        result = 0.0
        for y in range(height):
            if len(where) and not where[view, y, pixel : pixel + n_pixels].any():
                continue
            known = max(known, y - reach)
            while known < min(y + reach + 1, height):
                row = images[view, known]
                blur_row(row, left, n_channels, weights, tails, False, wide, rows[known % len(rows), :n])
                blur_row(row, left, n_channels, slopes, tails, False, wide, sloping[known % len(rows), :n])
                known += 1
            add_rows(rows, y, height, slopes, False, total)
            add_rows(sloping, y, height, weights, False, other)
            for x in range(n_pixels):
                if len(where) == 0 or where[view, y, pixel + x]:
                    for i in range(x * n_channels + first_channel, x * n_channels + last_channel):
                        result += grad[view, y, left + i] * (total[i] + other[i])
        sums[item] = result


def forward(images: Tensor, weights: Tensor, channels: slice = ALL) -> Tensor:
    """See op.blur_channels."""
    return _blur(images, weights, channels, False)


def backward(grad: Tensor, weights: Tensor, channels: slice = ALL) -> Tensor:
    """Return the gradient with respect to images: the transpose of the blur."""
    return _blur(grad, weights, channels, True)


def slope_product(
    grad: Tensor, images: Tensor, weights: Tensor, slopes: Tensor, channels: slice, where: Tensor | None
) -> Tensor:
    """Return the sum [] of `grad` times the derivative of the blurred channels by sigma; slopes: of the weights."""
    where = torch.empty(0, 0, 0, dtype=torch.bool, device="cpu") if where is None else where
    arrays, numbers = _rows(grad, images), _bands(images, channels, weights)
    sums = np.zeros(_n_items(images, numbers[0]))
    arguments = (*as_numpy(where), *numbers, *as_numpy(weights, slopes), _tails(weights), sums)
    parallel_for(slope_bands, len(sums), 1, *arrays, *arguments)
    return torch.tensor(sums.sum(), device="cpu")


def _blur(images: Tensor, weights: Tensor, channels: slice, transpose: bool) -> Tensor:
    out = memory.empty(images.shape, images.dtype)
    (rows, blurred), numbers = _rows(images, out), _bands(images, channels, weights)
    arguments = (rows, *numbers, *as_numpy(weights), _tails(weights), transpose, blurred)
    parallel_for(blur_bands, _n_items(images, numbers[0]), 1, *arguments)
    return out


def _rows(*images: Tensor) -> list[np.ndarray]:
    """Return images as arrays [N, H, W C]."""
    return [array.reshape(*array.shape[:2], -1) for array in as_numpy(*images)]


def _bands(images: Tensor, channels: slice, weights: Tensor) -> tuple[int, int, int, int]:
    """Return the numbers of a row in a band, those of a pixel, and the first and last of these to be blurred."""
    n_views, _, width, n_channels = images.shape
    first, last, _ = channels.indices(n_channels)
    most = max(BAND, min(WAITING // len(weights), n_views * width * n_channels // LEAST_BANDS))
    return n_channels * max(1, most // n_channels), n_channels, first, last


def _n_items(images: Tensor, band: int) -> int:
    return len(images) * -(-images.shape[2] * images.shape[3] // band)


def _tails(weights: Tensor) -> np.ndarray:
    """Return the sum of the weights of offsets beyond each of 0..reach-1."""
    reach = len(weights) // 2
    beyond = weights[reach + 1 :].double().flip(0).cumsum(0).flip(0)
    return beyond.to(weights.dtype).numpy()
