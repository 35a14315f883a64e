"""Compared colours and their gradient on CUDA, in the dtype of the images. A program has some pixels of one view."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffrender.imaging.color import AT_THE_END, ENCODED_OFFSET, ENCODED_SCALE, EXPONENT, LINEAR_SLOPE, LINEAR_THRESHOLD
from diffrender.ops.tangents import products_with_gradients
from diffrender.ops.triton_launch import launch

BLOCK = 256
CONSTANTS = {
    "THRESHOLD": LINEAR_THRESHOLD,
    "SLOPE": LINEAR_SLOPE,
    "EXPONENT": EXPONENT,
    "SCALE": ENCODED_SCALE,
    "OFFSET": ENCODED_OFFSET,
    "END": AT_THE_END,
}


@triton.jit
def encode(
    x, SPACE: tl.constexpr, THRESHOLD: tl.constexpr, SLOPE: tl.constexpr, EXPONENT: tl.constexpr, SCALE: tl.constexpr,
    OFFSET: tl.constexpr,
):  # fmt: skip
    """Return linear values in a colour space, and the derivatives there."""
    value, slope = x, tl.full(x.shape, 1.0, x.dtype)
    if SPACE == "srgb":
        power = SCALE * tl.exp(EXPONENT * tl.log(tl.where(x < THRESHOLD, THRESHOLD, x)))
        is_dark = x <= THRESHOLD
        value = tl.where(is_dark, SLOPE * x, power - OFFSET)
        slope = tl.where(is_dark, SLOPE, EXPONENT * power / tl.where(is_dark, 1.0, x))
    if SPACE == "log":
        is_lit = x > 0
        above = 1 + tl.where(is_lit, x, 0.0)
        value, slope = tl.where(is_lit, tl.log(above), x), 1 / above
    return value, slope


@triton.jit
def penalize(d, PENALTY: tl.constexpr, DELTA: tl.constexpr):
    """Return the penalties of differences, and their derivatives."""
    size = tl.abs(d)
    sign = tl.where(d > 0, 1.0, tl.where(d < 0, -1.0, 0.0)).to(d.dtype)
    cost, slope = size, sign
    if PENALTY == "l2":
        cost, slope = d * d, 2 * d
    if PENALTY == "charbonnier":
        root = tl.sqrt(d * d + DELTA * DELTA)
        cost, slope = d * d / (root + DELTA), d / root
    if PENALTY == "huber":
        is_small = size < DELTA
        cost, slope = tl.where(is_small, 0.5 * d * d / DELTA, size - 0.5 * DELTA), tl.where(is_small, d / DELTA, sign)
    return cost, slope


@triton.jit(do_not_specialize=["n_pixels", "n_blocks"])
def compare_pixels(
    rgba, images, added, masks, weights, grad, grad_squared, sums, out, n_pixels, n_blocks, SPACE: tl.constexpr,
    PENALTY: tl.constexpr, DELTA: tl.constexpr, CLIPS: tl.constexpr, ADDS: tl.constexpr, WEIGHS: tl.constexpr,
    DIFFERENTIATES: tl.constexpr, THRESHOLD: tl.constexpr, SLOPE: tl.constexpr, EXPONENT: tl.constexpr,
    SCALE: tl.constexpr, OFFSET: tl.constexpr, END: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the sums of a program's pixels, or the gradient with respect to them."""
    program = tl.program_id(0).to(tl.int64)
    view = program // n_blocks
    pixel = program % n_blocks * BLOCK + tl.arange(0, BLOCK)
    here = pixel < n_pixels
    pixel += view * n_pixels
    zero = tl.zeros((BLOCK,), rgba.dtype.element_ty)
    cost, squared, to_coverage, spare, spare_wanted = zero, zero, zero, zero, zero
    looks = here
    weight = 1.0
    if WEIGHS:
        weight = tl.load(weights + pixel, here, other=0)
        looks = weight > 0  # what is not looked at is equal, for 0 times a NaN is a NaN
    if ADDS:
        spare = 1 - tl.load(rgba + 4 * pixel + 3, looks, other=1)
        spare_wanted = 1 - tl.load(masks + pixel, looks, other=1)
    for c in tl.static_range(3):
        x, wanted = tl.load(rgba + 4 * pixel + c, looks, other=0), tl.load(images + 3 * pixel + c, looks, other=0)
        is_free = looks
        if CLIPS:
            is_free = ~((tl.abs(wanted - 1) < END) & (x > wanted))
            x = tl.where(is_free, x, wanted)
        offset = 0.0
        if ADDS:
            offset = tl.load(added + 3 * view + c)
            x += spare * offset
            wanted += spare_wanted * offset
        encoded, slope = encode(x, SPACE, THRESHOLD, SLOPE, EXPONENT, SCALE, OFFSET)
        d = encoded - encode(wanted, SPACE, THRESHOLD, SLOPE, EXPONENT, SCALE, OFFSET)[0]
        penalty, by_difference = penalize(d, PENALTY, DELTA)
        if DIFFERENTIATES:
            weight_squared = tl.load(grad_squared + view)  # mostly 0, which must not become NaN where d is infinite
            by_square = tl.where(weight_squared == 0, 0.0, weight_squared * 2 * d)
            g = weight * slope * (tl.load(grad + view) * by_difference + by_square)
            tl.store(out + 4 * pixel + c, tl.where(is_free, g, 0.0), here)
            if ADDS:
                to_coverage -= g * offset
        else:
            cost += tl.where(here, weight * penalty, 0.0)
            squared += tl.where(here, weight * d * d, 0.0)
    if DIFFERENTIATES:
        tl.store(out + 4 * pixel + 3, to_coverage, here)
    else:
        tl.store(sums + 2 * program, tl.sum(cost))
        tl.store(sums + 2 * program + 1, tl.sum(squared))


def run(
    grads: tuple[Tensor, Tensor], sums: Tensor, out: Tensor, rgba: Tensor, images: Tensor, space: str, penalty: str,
    delta: float, clips: bool, added: Tensor | None, masks: Tensor | None, weights: Tensor | None,
    differentiates: bool,
) -> None:  # fmt: skip
    """Launch the kernel."""
    n_views, n_pixels = len(images), images.shape[1] * images.shape[2]
    n_blocks = triton.cdiv(n_pixels, BLOCK)
    rgba, images = rgba.contiguous(), images.contiguous()
    adds, weighs = added is not None, weights is not None
    added, masks, weights = (rgba if part is None else part.contiguous() for part in (added, masks, weights))
    launch(
        compare_pixels, n_views * n_blocks, rgba, images, added, masks, weights, *grads, sums, out, n_pixels, n_blocks,
        SPACE=space, PENALTY=penalty, DELTA=float(delta), CLIPS=clips, ADDS=adds, WEIGHS=weighs,
        DIFFERENTIATES=differentiates, BLOCK=BLOCK, **CONSTANTS,
    )  # fmt: skip


def count_values(images: Tensor, weights: Tensor | None) -> Tensor | int:
    """Return what the sums of each view are divided by, one number or [N]."""
    if weights is None:
        return max(1, 3 * images.shape[1] * images.shape[2])
    total = 3 * weights.contiguous().sum((1, 2))
    return torch.where(total > 0, total, 1)


def forward(rgba: Tensor, images: Tensor, *options: object) -> tuple[Tensor, Tensor]:
    """See op.compare_colors."""
    n_pixels = images.shape[1] * images.shape[2]
    sums = rgba.new_empty(len(images), triton.cdiv(n_pixels, BLOCK), 2)
    run((rgba, rgba), sums, rgba, rgba, images, *options, False)  # type: ignore[arg-type]
    cost, squared = sums.sum(1).unbind(1)
    count = count_values(images, options[-1])  # type: ignore[arg-type]
    return cost / count, squared / count


def backward(
    grad_cost: Tensor, grad_squared: Tensor, rgba: Tensor, images: Tensor, *options: object
) -> tuple[Tensor | None, ...]:
    """See run_differentiable."""
    *others, wants = options
    assert isinstance(wants, Sequence)
    out = torch.empty_like(rgba, memory_format=torch.contiguous_format)
    count = count_values(images, others[-1])  # type: ignore[arg-type]
    run((grad_cost / count, grad_squared / count), rgba, out, rgba, images, *others, True)  # type: ignore[arg-type]
    return out, *[None] * 8


def jvp(tangents: Sequence[Tensor | None], rgba: Tensor, images: Tensor, *options: object) -> tuple[Tensor | None, ...]:
    """See run_differentiable: two numbers of a view."""
    zeros = rgba.new_zeros(2, len(images)).unbind()
    return products_with_gradients(backward, tangents, zeros, rgba, images, *options)
