"""Compared colours and their gradient on the CPU. Arithmetic in float64; see NOTES.md."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numba import njit
from numpy.polynomial import Chebyshev, Polynomial
from torch import Tensor

from diffrender import memory
from diffrender.imaging.color import AT_THE_END, ENCODED_OFFSET, ENCODED_SCALE, EXPONENT, LINEAR_SLOPE, LINEAR_THRESHOLD
from diffrender.ops.as_numpy import as_numpy
from diffrender.ops.compare_colors.op import PENALTIES
from diffrender.ops.tangents import products_with_gradients
from diffrender.threads import parallel_for

# Minimum number of pixels per thread.
GRAIN = 8192
LINEAR, SRGB, LOG = range(3)
SPACES = {"linear": LINEAR, "srgb": SRGB, "log": LOG}
L1, L2, HUBER, CHARBONNIER = range(4)
# x^(1 / 2.4) is that of a power of two, from a table, times that of the rest in 1..2, a polynomial: 3.5e-8 off.
_FIT = Chebyshev.interpolate(lambda m: m**EXPONENT, 7, [1, 2])
POWERS = tuple(map(float, _FIT.convert(kind=Polynomial, domain=[-1, 1], window=[-1, 1]).coef))
C0, C1, C2, C3, C4, C5, C6, C7 = POWERS
LOWEST = -9
OF_TWO = 2.0 ** (EXPONENT * np.arange(LOWEST, 1025))
FRACTION, ONE = (1 << 52) - 1, 1023 << 52


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def power(x, exact):
    """Return x^(1 / 2.4) of a number above 2^LOWEST; `exact`: in full double precision."""
    if exact or not x < np.inf:
        return x**EXPONENT
    bits = np.float64(x).view(np.int64)
    m = np.int64((bits & FRACTION) | ONE).view(np.float64)
    fit = C0 + m * (C1 + m * (C2 + m * (C3 + m * (C4 + m * (C5 + m * (C6 + m * C7))))))
    return fit * OF_TWO[(bits >> 52) - 1023 - LOWEST]


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def encode(x, space, exact):
    """Return a linear value in a colour space, and the derivative there."""
    if space == SRGB:
        if x <= LINEAR_THRESHOLD:
            return LINEAR_SLOPE * x, LINEAR_SLOPE
        scaled = ENCODED_SCALE * power(x, exact)
        return scaled - ENCODED_OFFSET, EXPONENT * scaled / x
    if space == LOG and x > 0:
        return math.log(1 + x), 1 / (1 + x)
    return x, 1.0


@njit(nogil=True, cache=True, forceinline=True)
def penalize(d, penalty, delta):
    """Return the penalty of a difference, and its derivative."""
    size, sign = abs(d), 1.0 * (d > 0) - 1.0 * (d < 0)
    if penalty == L1:
        return size, sign
    if penalty == L2:
        return d * d, 2 * d
    if penalty == CHARBONNIER:
        root = math.sqrt(d * d + delta * delta)
        return d * d / (root + delta), d / root
    if size < delta:
        return 0.5 * d * d / delta, d / delta
    return size - 0.5 * delta, sign


@njit(nogil=True, cache=True, error_model="numpy", forceinline=True)
def compare(x, wanted, space, exact):
    """Return the difference of two values in a colour space and its derivative by x: 0 where they are equal."""
    if x == wanted and abs(x) < np.inf:
        return 0.0, 0.0
    encoded, slope = encode(x, space, exact)
    return encoded - encode(wanted, space, exact)[0], slope


@njit(nogil=True, cache=True, forceinline=True)
def is_cut_off(x, wanted, clips):
    """Return whether a rendered value is above a wanted one that is clipped."""
    return clips and abs(wanted - 1) < AT_THE_END and x > wanted


@njit(nogil=True, cache=True, forceinline=True)
def spare_of(rgba, masks, row, i, has_added):
    """Return what coverage and mask of a pixel leave to an added background, if there is one."""
    # Per pixel: asked for each channel, the compiler's loop takes ten times as long.
    if has_added:
        return 1 - np.float64(rgba[row, i, 3]), 1 - np.float64(masks[row, i])
    return 0.0, 0.0


@njit(nogil=True, cache=True, forceinline=True)
def weight_of(weights, row, i):
    """Return how much a pixel counts."""
    # None is a type of its own: kernels compile once more for weights, and without them nothing is asked or multiplied.
    if weights is None:
        return 1.0
    return np.float64(weights[row, i])


@njit(nogil=True, cache=True, error_model="numpy")
def evaluate(start, end, rgba, images, added, masks, weights, height, penalty, delta, options, sums):
    """Write the sums over the rows start..end-1 of all images."""
    space, clips, has_added, exact = options
    for row in range(start, end):
        view = row // height
        cost = squared = 0.0
        for i in range(rgba.shape[1]):
            weight = weight_of(weights, row, i)
            if not weight > 0:
                continue
            spare, spare_wanted = spare_of(rgba, masks, row, i, has_added)
            for c in range(3):
                x, wanted, offset = np.float64(rgba[row, i, c]), np.float64(images[row, i, c]), added[view, c]
                if is_cut_off(x, wanted, clips):
                    x = wanted
                d, _ = compare(x + spare * offset, wanted + spare_wanted * offset, space, exact)
                cost += weight * penalize(d, penalty, delta)[0]
                squared += weight * d * d
        sums[row, 0], sums[row, 1] = cost, squared


@njit(nogil=True, cache=True, error_model="numpy")
def gradients(start, end, rgba, images, added, masks, weights, height, penalty, delta, options, grad, out):
    """Write the gradient with respect to the rows start..end-1 of all images."""
    space, clips, has_added, exact = options
    for row in range(start, end):
        view = row // height
        by_cost, by_squared = grad[0, view], grad[1, view]
        for i in range(rgba.shape[1]):
            weight = weight_of(weights, row, i)
            if not weight > 0:
                out[row, i] = 0
                continue
            spare, spare_wanted = spare_of(rgba, masks, row, i, has_added)
            to_coverage = 0.0
            for c in range(3):
                x, wanted, offset = np.float64(rgba[row, i, c]), np.float64(images[row, i, c]), added[view, c]
                is_free = not is_cut_off(x, wanted, clips)
                x = x if is_free else wanted
                d, slope = compare(x + spare * offset, wanted + spare_wanted * offset, space, exact)
                g = weight * slope * by_cost * penalize(d, penalty, delta)[1]
                if by_squared != 0:  # 0 times infinity is a NaN
                    g += weight * slope * by_squared * 2 * d
                out[row, i, c] = g if is_free else 0.0
                if has_added:
                    to_coverage -= g * offset
            out[row, i, 3] = to_coverage


def arrays(
    rgba: Tensor, images: Tensor, space: str, penalty: str, delta: float, clips: bool, added: Tensor | None,
    masks: Tensor | None, weights: Tensor | None,
) -> tuple[object, ...]:  # fmt: skip
    """Return what both kernels take."""
    n_views, height, width = images.shape[:3]
    offset = np.zeros((n_views, 3)) if added is None else added.double().numpy()
    rows = (rgba.reshape(n_views * height, width, 4), images.reshape(n_views * height, width, 3))
    mask = rgba.new_empty(0, width) if masks is None else masks.reshape(n_views * height, width)
    weight = None if weights is None else as_numpy(weights.reshape(n_views * height, width))[0]
    options = SPACES[space], clips, added is not None, rgba.dtype == torch.float64
    return *as_numpy(*rows), offset, *as_numpy(mask), weight, height, PENALTIES.index(penalty), float(delta), options


def count_values(images: Tensor, weights: Tensor | None) -> np.ndarray:
    """Return what the sums of each view are divided by [N]."""
    if weights is None:
        return np.full(len(images), max(1.0, 3 * images.shape[1] * images.shape[2]))
    total = 3 * weights.contiguous().numpy().sum((1, 2), dtype=np.float64)
    return np.where(total > 0, total, 1)


def forward(rgba: Tensor, images: Tensor, *options: object) -> tuple[Tensor, Tensor]:
    """See op.compare_colors."""
    n_views, height, width = images.shape[:3]
    sums = np.empty((n_views * height, 2))
    parallel_for(evaluate, len(sums), max(1, GRAIN // max(1, width)), *arrays(rgba, images, *options), sums)  # type: ignore[arg-type]
    means = sums.reshape(n_views, height, 2).sum(1) / count_values(images, options[-1])[:, None]  # type: ignore[arg-type]
    # Each on its own: results that are parts of one tensor can have no tangents.
    cost, squared = (torch.from_numpy(column.copy()).to(rgba.dtype) for column in means.T)
    return cost, squared


def backward(
    grad_cost: Tensor, grad_squared: Tensor, rgba: Tensor, images: Tensor, *options: object
) -> tuple[Tensor | None, ...]:
    """See run_differentiable."""
    *others, wants = options
    assert isinstance(wants, Sequence)
    n_views, height, width = images.shape[:3]
    grad = torch.stack([grad_cost, grad_squared]).double().numpy() / count_values(images, others[-1])  # type: ignore[arg-type]
    out = memory.empty(rgba.shape, rgba.dtype)
    rows = out.numpy().reshape(n_views * height, width, 4)
    parallel_for(gradients, len(rows), max(1, GRAIN // max(1, width)), *arrays(rgba, images, *others), grad, rows)  # type: ignore[arg-type]
    return out, *[None] * 8


def jvp(tangents: Sequence[Tensor | None], rgba: Tensor, images: Tensor, *options: object) -> tuple[Tensor | None, ...]:
    """See run_differentiable: two numbers of a view."""
    zeros = rgba.new_zeros(2, len(images)).unbind()
    return products_with_gradients(backward, tangents, zeros, rgba, images, *options)
