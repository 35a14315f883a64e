"""Trilinear texture sampling and its gradients on CUDA, one lane per sample. Positions in float64.

The gradient of the texels is a sum by atomic additions: its last bits depend on their order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffrender.list_sizes import hold
from diffrender.ops.tangents import count_tangents
from diffrender.ops.triton_launch import launch, tangents_or

# Samples per program, one per thread.
BLOCK = 256
WARPS = BLOCK // 32
LN_2 = tl.constexpr(math.log(2))
# Wider footprints, squared, are at the last level of any image, and may be too wide for float32.
WIDEST_SQUARED = tl.constexpr(1e30)
Sizes = tuple[tuple[int, int], ...]


@triton.jit
def neighbours(coordinate, size, CLAMPS: tl.constexpr):
    """Return the two texels on either side of a coordinate, and its fraction of the way from first to second."""
    u = coordinate.to(tl.float64)
    u = tl.where(u < 0, 0.0, tl.where(u > 1, 1.0, u)) if CLAMPS else u - tl.floor(u)
    x = u * size - 0.5
    is_number = x >= -0.5  # neither NaN, nor an infinity that became one
    low = tl.floor(tl.where(is_number, x, 0.0))
    first, second = low.to(tl.int64), low.to(tl.int64) + 1
    fraction = tl.where(is_number, x - low, float("nan")).to(coordinate.dtype)
    if CLAMPS:
        return tl.maximum(first, 0), tl.minimum(second, size - 1), fraction
    return tl.where(first < 0, first + size, first), tl.where(second >= size, second - size, second), fraction


@triton.jit
def corners(levels, uv, m, level, here, CLAMPS: tl.constexpr):
    """Return the four texels around each sample in its level, the sample's fractions, and the level's size."""
    first = tl.load(levels + 3 * level, here, other=0)
    height = tl.load(levels + 3 * level + 1, here, other=1)
    width = tl.load(levels + 3 * level + 2, here, other=1)
    left, right, fx = neighbours(tl.load(uv + 2 * m, here, other=0), width, CLAMPS)
    above, below, fy = neighbours(tl.load(uv + 2 * m + 1, here, other=0), height, CLAMPS)
    above, below = first + above * width, first + below * width
    return (above + left, above + right, below + left, below + right), fx, fy, height.to(fx.dtype), width.to(fx.dtype)


@triton.jit
def squared_width(footprint, levels, m, here, FOOTPRINT: tl.constexpr):
    """Return the squared width of the samples' footprints in texels, in float64."""
    a = tl.load(footprint + FOOTPRINT * m, here, other=0).to(tl.float64)
    if FOOTPRINT == 1:
        return a * a
    b = tl.load(footprint + 4 * m + 1, here, other=0).to(tl.float64)
    c = tl.load(footprint + 4 * m + 2, here, other=0).to(tl.float64)
    d = tl.load(footprint + 4 * m + 3, here, other=0).to(tl.float64)
    height, width = tl.load(levels + 1), tl.load(levels + 2)
    return 0.25 * ((a * a + b * b) * (width * width) + (c * c + d * d) * (height * height))


@triton.jit
def level_of(squared, n_levels, dtype: tl.constexpr):
    """Return the finer one of the two levels, the weight of the coarser one, and whether they are blended."""
    held = tl.minimum(tl.where(squared > 1, squared, 1.0), WIDEST_SQUARED).to(dtype)
    level = tl.minimum(0.5 * tl.log2(held), n_levels - 1)
    finer = tl.floor(level)
    return finer.to(tl.int64), level - finer, (level > 0) & (level < n_levels - 1)


@triton.jit
def bilinear(texels, at, c, fx, fy, here, CHANNELS: tl.constexpr):
    """Return values of a channel between four texels each."""
    upper = tl.load(texels + at[0] * CHANNELS + c, here, other=0) * (1 - fx)
    upper += tl.load(texels + at[1] * CHANNELS + c, here, other=0) * fx
    lower = tl.load(texels + at[2] * CHANNELS + c, here, other=0) * (1 - fx)
    lower += tl.load(texels + at[3] * CHANNELS + c, here, other=0) * fx
    return upper * (1 - fy) + lower * fy


@triton.jit(do_not_specialize=["n", "n_levels"])
def evaluate(
    texels, levels, uv, footprint, out, n, n_levels,
    FOOTPRINT: tl.constexpr, CLAMPS: tl.constexpr, CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write values of the samples."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n
    if FOOTPRINT == 0:
        at, fx, fy, _, _ = corners(levels, uv, m, m * 0, here, CLAMPS)
        for c in range(CHANNELS):
            tl.store(out + m * CHANNELS + c, bilinear(texels, at, c, fx, fy, here, CHANNELS), here)
    else:
        squared = squared_width(footprint, levels, m, here, FOOTPRINT)
        level, t, blends = level_of(squared, n_levels, uv.dtype.element_ty)
        blends &= here
        at, fx, fy, _, _ = corners(levels, uv, m, level, here, CLAMPS)
        next_at, next_fx, next_fy, _, _ = corners(levels, uv, m, level + 1, blends, CLAMPS)
        for c in range(CHANNELS):
            value = (1 - t) * bilinear(texels, at, c, fx, fy, here, CHANNELS)
            value += t * bilinear(texels, next_at, c, next_fx, next_fy, blends, CHANNELS)
            tl.store(out + m * CHANNELS + c, value, here)


@triton.jit
def slopes_between(g00, g01, g10, g11, fx, fy, height, width):
    """Return the derivatives by u and v of values between four texels each, and the values."""
    upper, lower = g00 + (g01 - g00) * fx, g10 + (g11 - g10) * fx
    du = width * ((g01 - g00) * (1 - fy) + (g11 - g10) * fy)
    return du, height * (lower - upper), upper + (lower - upper) * fy


@triton.jit
def squared_slope(footprint, levels, m, i, here, FOOTPRINT: tl.constexpr):
    """Return the derivative of the squared width by number i of the samples' footprints."""
    f = tl.load(footprint + FOOTPRINT * m + i, here, other=0)
    size = tl.load(levels + (2 if i < 2 else 1)).to(f.dtype)
    return f * (2 if FOOTPRINT == 1 else 0.5 * size * size)


@triton.jit
def level_slope(squared, blends, dtype: tl.constexpr):
    """Return the derivative of the level by the squared width: level = log2(squared) / 2."""
    return tl.where(blends, 1.0 / (tl.where(blends, squared, 1.0).to(dtype) * (2 * LN_2)), 0)


@triton.jit
def give_level(
    total, grad, texels, levels, uv, m, level, weight, here,
    CLAMPS: tl.constexpr, CHANNELS: tl.constexpr, TEXELS: tl.constexpr, POSITIONS: tl.constexpr,
):  # fmt: skip
    """Add the gradient of the texels of one level, of that weight; return that of u, v and the weight."""
    at, fx, fy, height, width = corners(levels, uv, m, level, here, CLAMPS)
    w00, w01 = weight * (1 - fy) * (1 - fx), weight * (1 - fy) * fx
    w10, w11 = weight * fy * (1 - fx), weight * fy * fx
    zero = tl.zeros(fx.shape, fx.dtype)
    g00, g01, g10, g11 = zero, zero, zero, zero
    for c in range(CHANNELS):
        g = tl.load(grad + m * CHANNELS + c, here, other=0)
        if TEXELS:
            adds = here & (g != 0)  # samples that count nowhere are all at one place
            tl.atomic_add(total + at[0] * CHANNELS + c, w00 * g, adds, sem="relaxed")
            tl.atomic_add(total + at[1] * CHANNELS + c, w01 * g, adds, sem="relaxed")
            tl.atomic_add(total + at[2] * CHANNELS + c, w10 * g, adds, sem="relaxed")
            tl.atomic_add(total + at[3] * CHANNELS + c, w11 * g, adds, sem="relaxed")
        if POSITIONS:
            g00 += g * tl.load(texels + at[0] * CHANNELS + c, here, other=0)
            g01 += g * tl.load(texels + at[1] * CHANNELS + c, here, other=0)
            g10 += g * tl.load(texels + at[2] * CHANNELS + c, here, other=0)
            g11 += g * tl.load(texels + at[3] * CHANNELS + c, here, other=0)
    du, dv, value = slopes_between(g00, g01, g10, g11, fx, fy, height, width)
    return weight * du, weight * dv, value


@triton.jit(do_not_specialize=["n", "n_levels"])
def gradients(
    total, grad, texels, levels, uv, footprint, grad_uv, grad_footprint, n, n_levels,
    FOOTPRINT: tl.constexpr, CLAMPS: tl.constexpr, CHANNELS: tl.constexpr, TEXELS: tl.constexpr,
    POSITIONS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add the texels' gradient of the samples to `total`; write those of uv and footprint."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n
    dtype = uv.dtype.element_ty
    if FOOTPRINT == 0:
        one = tl.full([BLOCK], 1, dtype)
        du, dv, _ = give_level(
            total, grad, texels, levels, uv, m, m * 0, one, here, CLAMPS, CHANNELS, TEXELS, POSITIONS
        )
    else:
        squared = squared_width(footprint, levels, m, here, FOOTPRINT)
        level, t, blends = level_of(squared, n_levels, dtype)
        blends &= here
        du, dv, value = give_level(
            total, grad, texels, levels, uv, m, level, 1 - t, here, CLAMPS, CHANNELS, TEXELS, POSITIONS
        )
        next_du, next_dv, next_value = give_level(
            total, grad, texels, levels, uv, m, level + 1, t, blends, CLAMPS, CHANNELS, TEXELS, POSITIONS
        )
        du, dv = du + next_du, dv + next_dv
        d_squared = tl.where(blends, next_value - value, 0) * level_slope(squared, blends, dtype)
        if POSITIONS:
            for i in tl.static_range(FOOTPRINT):
                by_number = squared_slope(footprint, levels, m, i, here, FOOTPRINT)
                tl.store(grad_footprint + FOOTPRINT * m + i, d_squared * by_number, here)
    if POSITIONS:
        tl.store(grad_uv + 2 * m, du, here)
        tl.store(grad_uv + 2 * m + 1, dv, here)


@triton.jit
def slopes(texels, at, c, fx, fy, height, width, here, CHANNELS: tl.constexpr):
    """Return the derivatives of a channel by u and v in one level, and its values there."""
    g00 = tl.load(texels + at[0] * CHANNELS + c, here, other=0)
    g01 = tl.load(texels + at[1] * CHANNELS + c, here, other=0)
    g10 = tl.load(texels + at[2] * CHANNELS + c, here, other=0)
    g11 = tl.load(texels + at[3] * CHANNELS + c, here, other=0)
    return slopes_between(g00, g01, g10, g11, fx, fy, height, width)


@triton.jit(do_not_specialize=["n", "n_levels", "n_numbers", "n_tangents"])
def tangents_of(
    d_texels, d_uv, d_footprint, texels, levels, uv, footprint, out, n, n_levels, n_numbers, n_tangents,
    OF_TEXELS: tl.constexpr, OF_UV: tl.constexpr, OF_FOOTPRINT: tl.constexpr,
    FOOTPRINT: tl.constexpr, CLAMPS: tl.constexpr, CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write all tangents [K, M, C] of the samples; n_numbers: from one tangent of texels to the next."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n
    dtype = uv.dtype.element_ty
    if FOOTPRINT == 0:
        at, fx, fy, height, width = corners(levels, uv, m, m * 0, here, CLAMPS)
    else:
        squared = squared_width(footprint, levels, m, here, FOOTPRINT)
        level, t, blends = level_of(squared, n_levels, dtype)
        blends &= here
        at, fx, fy, height, width = corners(levels, uv, m, level, here, CLAMPS)
        next_at, next_fx, next_fy, next_height, next_width = corners(levels, uv, m, level + 1, blends, CLAMPS)
        by_squared = level_slope(squared, blends, dtype)
    for c in range(CHANNELS):
        by_u, by_v, value = slopes(texels, at, c, fx, fy, height, width, here, CHANNELS)
        if FOOTPRINT > 0:
            next_u, next_v, next_value = slopes(
                texels, next_at, c, next_fx, next_fy, next_height, next_width, blends, CHANNELS
            )
            by_u, by_v = (1 - t) * by_u + t * next_u, (1 - t) * by_v + t * next_v
            by_width = tl.where(blends, next_value - value, 0) * by_squared
        row, of_texels, left = m, d_texels, n_tangents
        while left > 0:
            total = by_u * tl.load(d_uv + 2 * row, here & OF_UV, other=0)
            total += by_v * tl.load(d_uv + 2 * row + 1, here & OF_UV, other=0)
            if OF_TEXELS and FOOTPRINT == 0:
                total += bilinear(of_texels, at, c, fx, fy, here, CHANNELS)
            if OF_TEXELS and FOOTPRINT > 0:
                total += (1 - t) * bilinear(of_texels, at, c, fx, fy, here, CHANNELS)
                total += t * bilinear(of_texels, next_at, c, next_fx, next_fy, blends, CHANNELS)
            if OF_FOOTPRINT:
                for i in tl.static_range(FOOTPRINT):
                    moved = tl.load(d_footprint + FOOTPRINT * row + i, here, other=0)
                    total += by_width * squared_slope(footprint, levels, m, i, here, FOOTPRINT) * moved
            tl.store(out + row * CHANNELS + c, total, here)
            of_texels += n_numbers
            row += n
            left -= 1


def forward(texels: Tensor, sizes: Sizes, uv: Tensor, footprint: Tensor | None, wrap: str) -> Tensor:
    """See op.sample_texture."""
    out = uv.new_empty((len(uv), texels.shape[1]))
    inputs, constants = _inputs(texels, sizes, uv, footprint, wrap)
    launch(evaluate, triton.cdiv(len(uv), BLOCK), *inputs, out, len(uv), len(sizes), **constants)
    return out


def backward(
    grad_out: Tensor,
    texels: Tensor,
    sizes: Sizes,
    uv: Tensor,
    footprint: Tensor | None,
    wrap: str,
    wants: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """See run_differentiable."""
    wants_texels, _, wants_uv, wants_footprint, _ = wants
    inputs, constants = _inputs(texels, sizes, uv, footprint, wrap)
    grad = grad_out.contiguous()
    total = torch.zeros_like(inputs[0]) if wants_texels else grad
    grad_uv, grad_footprint = torch.empty_like(inputs[2]), torch.empty_like(inputs[3])
    outputs = (grad_uv, grad_footprint, len(uv), len(sizes))
    wanted = {"TEXELS": wants_texels, "POSITIONS": wants_uv or wants_footprint}
    launch(gradients, triton.cdiv(len(uv), BLOCK), total, grad, *inputs, *outputs, **constants, **wanted)
    grads = (total if wants_texels else None, None, grad_uv if wants_uv else None)
    return *grads, grad_footprint if wants_footprint else None, None


def jvp(
    tangents: Sequence[Tensor | None], texels: Tensor, sizes: Sizes, uv: Tensor, footprint: Tensor | None, wrap: str
) -> Tensor:
    """See run_differentiable."""
    inputs, constants = _inputs(texels, sizes, uv, footprint, wrap)
    moved, given = tangents_or((inputs[0], *inputs[2:]), (tangents[0], *tangents[2:4]))
    out = uv.new_empty((count_tangents(tangents), len(uv), texels.shape[1]))
    constants |= dict(zip(("OF_TEXELS", "OF_UV", "OF_FOOTPRINT"), given, strict=True))
    numbers = (len(uv), len(sizes), texels.numel(), len(out))
    launch(tangents_of, triton.cdiv(len(uv), BLOCK), *moved, *inputs, out, *numbers, **constants)
    return out


def _inputs(
    texels: Tensor, sizes: Sizes, uv: Tensor, footprint: Tensor | None, wrap: str
) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
    """Return what all kernels take: the texels, the levels' places, uv and footprint; and their constants."""
    numbers = 0 if footprint is None else 1 if footprint.dim() == 1 else 4
    constants = {"FOOTPRINT": numbers, "CLAMPS": wrap == "clamp", "CHANNELS": texels.shape[1]}
    tensors = (texels, hold(_levels(sizes, uv.device)), uv, uv if footprint is None else footprint)
    return tuple(tensor.contiguous() for tensor in tensors), constants | {"BLOCK": BLOCK, "num_warps": WARPS}


@lru_cache(maxsize=64)
def _levels(sizes: Sizes, device: torch.device) -> Tensor:
    """Return [L, 3] first texel, height and width of each level; kept, since each copy to the device waits for it."""
    first = [sum(height * width for height, width in sizes[:level]) for level in range(len(sizes))]
    return torch.tensor([(start, *size) for start, size in zip(first, sizes, strict=True)], device=device)
