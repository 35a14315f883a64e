"""Total variation and its gradient on CUDA, one lane per texel. Results are the same bits each time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffrender.ops.tangents import products_with_gradients
from diffrender.ops.triton_launch import launch

BLOCK = 256


@triton.jit
def is_step(covered, start, end, here, COVERED: tl.constexpr):
    """Return which steps from one texel to another count."""
    if COVERED:
        here = here & (tl.load(covered + start, here, other=0) != 0) & (tl.load(covered + end, here, other=0) != 0)
    return here


@triton.jit
def length_of(texels, start, end, here, small, CHANNELS: tl.constexpr):
    """Return the root of the squared length of steps and of `small`."""
    squared = small * small
    for c in tl.static_range(CHANNELS):
        at_start = tl.load(texels + start * CHANNELS + c, here, other=0)
        difference = tl.load(texels + end * CHANNELS + c, here, other=0) - at_start
        squared += difference * difference
    return tl.sqrt(squared)


@triton.jit(do_not_specialize=["height", "width", "small"])
def sum_steps(
    texels, covered, weights, totals, numbers, height, width, small: tl.float64, CHANNELS: tl.constexpr,
    COVERED: tl.constexpr, WEIGHTS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the sum and the number of the steps downwards and to the right from a program's texels."""
    program = tl.program_id(0).to(tl.int64)
    texel = program * BLOCK + tl.arange(0, BLOCK)
    row, column = texel // width, texel % width
    small = tl.full((BLOCK,), small, tl.float64).to(texels.dtype.element_ty)  # a number alone would be a float32
    total, number = tl.zeros((BLOCK,), texels.dtype.element_ty), tl.zeros((BLOCK,), tl.int32)
    for axis in tl.static_range(2):
        end = texel + (width if axis == 0 else 1)
        here = (row + 1 < height) if axis == 0 else (row < height) & (column + 1 < width)
        here = is_step(covered, texel, end, here, COVERED)
        length = length_of(texels, texel, end, here, small, CHANNELS) - small
        if WEIGHTS:
            length *= tl.load(weights + axis * height * width + texel, here, other=0)
        total += tl.where(here, length, 0.0)
        number += here.to(tl.int32)
    tl.store(totals + program, tl.sum(total))
    tl.store(numbers + program, tl.sum(number))


@triton.jit
def share_of(texels, start, end, here, small, weight, scale, CHANNELS: tl.constexpr, WEIGHTS: tl.constexpr):
    """Return what a difference counts in the gradients at its ends, 0 where there is none."""
    share = scale / length_of(texels, start, end, here, small, CHANNELS)
    if WEIGHTS:
        share *= tl.load(weight, here, other=0)
    return tl.where(here, share, 0.0)


@triton.jit(do_not_specialize=["height", "width", "small"])
def gradients(
    texels, covered, weights, grad, out, height, width, small: tl.float64, CHANNELS: tl.constexpr,
    COVERED: tl.constexpr, WEIGHTS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the gradients of a program's texels: of the steps to them and from them."""
    texel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    row, column = texel // width, texel % width
    small = tl.full((BLOCK,), small, tl.float64).to(texels.dtype.element_ty)  # a number alone would be a float32
    inside = row < height
    scale = tl.load(grad)
    above, left, below, right = texel - width, texel - 1, texel + width, texel + 1
    from_above = is_step(covered, texel, above, inside & (row > 0), COVERED)
    from_left = is_step(covered, texel, left, inside & (column > 0), COVERED)
    downwards = is_step(covered, texel, below, row + 1 < height, COVERED)
    to_right = is_step(covered, texel, right, inside & (column + 1 < width), COVERED)
    across = weights + height.to(tl.int64) * width
    share_above = share_of(texels, texel, above, from_above, small, weights + above, scale, CHANNELS, WEIGHTS)
    share_left = share_of(texels, texel, left, from_left, small, across + left, scale, CHANNELS, WEIGHTS)
    share_below = share_of(texels, texel, below, downwards, small, weights + texel, scale, CHANNELS, WEIGHTS)
    share_right = share_of(texels, texel, right, to_right, small, across + texel, scale, CHANNELS, WEIGHTS)
    for c in tl.static_range(CHANNELS):
        own = tl.load(texels + texel * CHANNELS + c, inside, other=0)
        total = share_above * (own - tl.load(texels + above * CHANNELS + c, from_above, other=0))
        total += share_left * (own - tl.load(texels + left * CHANNELS + c, from_left, other=0))
        total += share_below * (own - tl.load(texels + below * CHANNELS + c, downwards, other=0))
        total += share_right * (own - tl.load(texels + right * CHANNELS + c, to_right, other=0))
        has_any = from_above | from_left | downwards | to_right
        tl.store(out + texel * CHANNELS + c, tl.where(has_any, total, 0.0), inside)


def _run(kernel: object, texels: Tensor, small: float, parts: Sequence[Tensor | None], *results: Tensor) -> None:
    """Launch a kernel over all texels."""
    height, width, n_channels = texels.shape
    texels = texels.contiguous()
    covered, weights = (texels if part is None else part.contiguous() for part in parts)
    given = dict(zip(("COVERED", "WEIGHTS"), (part is not None for part in parts), strict=True))
    launch(
        kernel, triton.cdiv(height * width, BLOCK), texels, covered, weights, *results, height, width,
        float(small), CHANNELS=n_channels, **given, BLOCK=BLOCK,
    )  # fmt: skip


def forward(texels: Tensor, small: float, *parts: Tensor | None) -> tuple[Tensor, Tensor]:
    """See op.total_variation."""
    n_programs = triton.cdiv(texels.shape[0] * texels.shape[1], BLOCK)
    totals, numbers = texels.new_zeros(n_programs), texels.new_zeros(n_programs, dtype=torch.int64)
    _run(sum_steps, texels, small, parts, totals, numbers)
    return totals.sum(), numbers.sum()


def backward(
    grad_total: Tensor, grad_number: Tensor | None, texels: Tensor, small: float, *others: Tensor | None
) -> tuple[Tensor | None, ...]:
    """See run_differentiable."""
    *parts, _ = others
    out = torch.empty_like(texels, memory_format=torch.contiguous_format)
    _run(gradients, texels, small, parts, grad_total.contiguous(), out)
    return out, *[None] * 3


def jvp(
    tangents: Sequence[Tensor | None], texels: Tensor, small: float, *others: Tensor | None
) -> tuple[Tensor | None, ...]:
    """See run_differentiable: one number."""
    return products_with_gradients(backward, tangents, (texels.new_zeros(()), None), texels, small, *others)
