"""Compared colours and their gradient on CUDA, in the dtype of the images. A program has some pixels of one view."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffrender.imaging.color import AT_THE_END, ENCODED_OFFSET, ENCODED_SCALE, EXPONENT, LINEAR_SLOPE, LINEAR_THRESHOLD
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
    if PENALTY == "huber":
        is_small = size < DELTA
        cost, slope = tl.where(is_small, 0.5 * d * d / DELTA, size - 0.5 * DELTA), tl.where(is_small, d / DELTA, sign)
    return cost, slope


@triton.jit(do_not_specialize=["n_pixels", "n_blocks"])
def compare_pixels(
    rgba, images, added, masks, grad, grad_squared, sums, out, n_pixels, n_blocks, SPACE: tl.constexpr,
    PENALTY: tl.constexpr, DELTA: tl.constexpr, CLIPS: tl.constexpr, ADDS: tl.constexpr, DIFFERENTIATES: tl.constexpr,
    THRESHOLD: tl.constexpr, SLOPE: tl.constexpr, EXPONENT: tl.constexpr, SCALE: tl.constexpr, OFFSET: tl.constexpr,
    END: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the sums of a program's pixels, or the gradient with respect to them."""
    program = tl.program_id(0).to(tl.int64)
    view = program // n_blocks
    pixel = program % n_blocks * BLOCK + tl.arange(0, BLOCK)
    here = pixel < n_pixels
    pixel += view * n_pixels
    zero = tl.zeros((BLOCK,), rgba.dtype.element_ty)
    cost, squared, to_coverage, spare, spare_wanted = zero, zero, zero, zero, zero
    if ADDS:
        spare = 1 - tl.load(rgba + 4 * pixel + 3, here, other=1)
        spare_wanted = 1 - tl.load(masks + pixel, here, other=1)
    for c in tl.static_range(3):
        x, wanted = tl.load(rgba + 4 * pixel + c, here, other=0), tl.load(images + 3 * pixel + c, here, other=0)
        is_free = here
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
            g = slope * (tl.load(grad + view) * by_difference + by_square)
            tl.store(out + 4 * pixel + c, tl.where(is_free, g, 0.0), here)
            if ADDS:
                to_coverage -= g * offset
        else:
            cost += tl.where(here, penalty, 0.0)
            squared += tl.where(here, d * d, 0.0)
    if DIFFERENTIATES:
        tl.store(out + 4 * pixel + 3, to_coverage, here)
    else:
        tl.store(sums + 2 * program, tl.sum(cost))
        tl.store(sums + 2 * program + 1, tl.sum(squared))


def run(
    grads: tuple[Tensor, Tensor], sums: Tensor, out: Tensor, rgba: Tensor, images: Tensor, space: str, penalty: str,
    delta: float, clips: bool, added: Tensor | None, masks: Tensor | None, differentiates: bool,
) -> None:  # fmt: skip
    """Launch the kernel."""
    n_views, n_pixels = len(images), images.shape[1] * images.shape[2]
    n_blocks = triton.cdiv(n_pixels, BLOCK)
    rgba, images = rgba.contiguous(), images.contiguous()
    adds = added is not None
    added, masks = (rgba if part is None else part.contiguous() for part in (added, masks))
    launch(
        compare_pixels, n_views * n_blocks, rgba, images, added, masks, *grads, sums, out, n_pixels, n_blocks,
        SPACE=space, PENALTY=penalty, DELTA=float(delta), CLIPS=clips, ADDS=adds, DIFFERENTIATES=differentiates,
        BLOCK=BLOCK, **CONSTANTS,
    )  # fmt: skip


def forward(rgba: Tensor, images: Tensor, *options: object) -> tuple[Tensor, Tensor]:
    """See op.compare_colors."""
    n_pixels = images.shape[1] * images.shape[2]
    sums = rgba.new_empty(len(images), triton.cdiv(n_pixels, BLOCK), 2)
    run((rgba, rgba), sums, rgba, rgba, images, *options, False)  # type: ignore[arg-type]
    cost, squared = (sums.sum(1) / max(1, 3 * n_pixels)).unbind(1)
    return cost, squared


def backward(
    grad_cost: Tensor, grad_squared: Tensor, rgba: Tensor, images: Tensor, *options: object
) -> tuple[Tensor | None, ...]:
    """See run_differentiable."""
    *others, wants = options
    assert isinstance(wants, Sequence)
    out = torch.empty_like(rgba, memory_format=torch.contiguous_format)
    count = max(1, 3 * images.shape[1] * images.shape[2])
    run((grad_cost / count, grad_squared / count), rgba, out, rgba, images, *others, True)  # type: ignore[arg-type]
    return out, *[None] * 7
