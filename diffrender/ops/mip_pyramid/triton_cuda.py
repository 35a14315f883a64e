"""Mip levels and their gradient on CUDA: several levels per launch where sizes are even or small.

Each number is written by one lane, its terms in a fixed order: results are the same bits each time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffrender.ops.triton_launch import launch
from diffrender.ops.triton_places import places

# Numbers per program. Levels of no more than these are made by one program, one after the other.
BLOCK = 1024
WARPS = 8
# Even sizes are halved in tiles of 2^MOST_HALVINGS texels each way, of at most so many channels.
MOST_HALVINGS = 5
MOST_CHANNELS = 4
Sizes = tuple[tuple[int, int], ...]


@triton.jit
def units_of(size, half):
    """Return whether a size is odd, the weight of a middle texel as a whole number, and of how many parts that is."""
    odd = size % 2
    return odd, tl.where(odd == 1, half, 1), tl.where(odd == 1, size, 2)


@triton.jit
def taps_of(size, half, coarse):
    """Return the weights of the texels 2 `coarse` and the next two, of `size`, in `coarse` of `half`, in parts."""
    odd, middle, _ = units_of(size, half)
    several = tl.where(size > 1, 1, 0)
    # All have one number per lane: masks of the interpreter must.
    return middle - odd * coarse, several * middle + 0 * coarse, several * odd * (coarse + 1)


@triton.jit
def uses_of(size, half, fine):
    """Return the weights of texel `fine`, of `size`, in texel fine // 2 of `half` and in the one before, in parts."""
    odd, middle, _ = units_of(size, half)
    before = tl.where(fine % 2 == 0, odd * (fine // 2), 0)
    return middle - before, before


@triton.jit
def scale_of(height, half_height, width, half_width, dtype: tl.constexpr):
    """Return what one part of a row's weight times one of a column's is."""
    _, _, rows = units_of(height, half_height)
    _, _, columns = units_of(width, half_width)
    return 1 / (rows.to(dtype) * columns.to(dtype))


@triton.jit
def halve(tile, SIZE: tl.constexpr, CHANNELS: tl.constexpr):
    """Return the means [SIZE, SIZE, CHANNELS] of 2 x 2 texels each."""
    rows = tl.sum(tl.reshape(tile, (SIZE, 2, 2 * SIZE, CHANNELS)), 1)
    return tl.sum(tl.reshape(rows, (SIZE, SIZE, 2, CHANNELS)), 2) * 0.25


@triton.jit(do_not_specialize=["first", "height", "width", "channels"])
def shrink_even(
    texels, first, height, width, channels, HALVINGS: tl.constexpr, SIZE: tl.constexpr, CHANNELS: tl.constexpr
):  # fmt: skip
    """Write HALVINGS levels after the one at `first`, a tile of it per program; all but the last have even sizes."""
    tiles_x, groups = tl.cdiv(width, SIZE), tl.cdiv(channels, CHANNELS)
    item = tl.program_id(0).to(tl.int64)
    tile_y, tile_x = item // groups // tiles_x, item // groups % tiles_x
    c = (item % groups * CHANNELS + tl.arange(0, CHANNELS))[None, None, :]
    i = (tile_y * SIZE + tl.arange(0, SIZE))[:, None, None]
    j = (tile_x * SIZE + tl.arange(0, SIZE))[None, :, None]
    here = (i < height) & (j < width) & (c < channels)
    tile = tl.load(texels + (first + i * width + j) * channels + c, here, other=0)
    for halving in tl.static_range(1, HALVINGS + 1):
        first += height.to(tl.int64) * width
        height, width = height // 2, width // 2
        tile = halve(tile, SIZE >> halving, CHANNELS)
        i = (tile_y * (SIZE >> halving) + tl.arange(0, SIZE >> halving))[:, None, None]
        j = (tile_x * (SIZE >> halving) + tl.arange(0, SIZE >> halving))[None, :, None]
        here = (i < height) & (j < width) & (c < channels)
        tl.store(texels + (first + i * width + j) * channels + c, tile, here)


@triton.jit(do_not_specialize=["first", "height", "width", "channels", "levels"])
def shrink(texels, first, height, width, channels, levels, BLOCK: tl.constexpr):
    """Write `levels` levels after the one at `first`, each from the one before; several by one program only."""
    first = first.to(tl.int64)
    while levels > 0:
        rows, columns = tl.maximum(height // 2, 1), tl.maximum(width // 2, 1)
        i, j, c = places(tl.program_id(0).to(tl.int64) * BLOCK, columns, channels, BLOCK)
        here = i < rows
        total = tl.zeros([BLOCK], texels.dtype.element_ty)
        row_taps, column_taps = taps_of(height, rows, i), taps_of(width, columns, j)
        for a in tl.static_range(3):
            for b in tl.static_range(3):
                weight = row_taps[a] * column_taps[b]
                at = (first + (2 * i + a) * width + 2 * j + b) * channels + c
                total += weight.to(total.dtype) * tl.load(texels + at, here & (weight > 0), other=0)
        total *= scale_of(height, rows, width, columns, total.dtype)
        first += height.to(tl.int64) * width
        tl.store(texels + (first + i * columns + j) * channels + c, total, here)
        # What the lanes have written is what they read next.
        tl.debug_barrier()
        height, width, levels = rows, columns, levels - 1


@triton.jit(do_not_specialize=["fine", "height", "width", "channels", "channel", "count"])
def spread_even(
    given, shares, out, fine, height, width, channels, channel, count,
    HALVINGS: tl.constexpr, HAS_SHARES: tl.constexpr, IS_FINEST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write what the level at `fine` gets from the HALVINGS after it: to its shares, or with its own to an image."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    i, j, c = places(start, width, count, BLOCK)
    here, first, scale = i < height, fine, 1.0
    own_at = (fine + i * width + j) * channels + channel + c
    total = tl.zeros([BLOCK], given.dtype.element_ty)
    for _ in tl.static_range(HALVINGS):
        first += height.to(tl.int64) * width
        height, width, i, j, scale = height // 2, width // 2, i // 2, j // 2, scale * 0.25
        at = (first + i * width + j) * channels + channel + c
        total += scale * tl.load(given + at, here, other=0)
    if HAS_SHARES:
        total += scale * tl.load(shares + at, here, other=0)
    if IS_FINEST:
        tl.store(out + start + tl.arange(0, BLOCK), total + tl.load(given + own_at, here, other=0), here)
    else:
        tl.store(shares + own_at, total, here)


@triton.jit(do_not_specialize=["coarse", "height", "width", "channels", "channel", "count", "levels", "has_shares"])
def spread(
    given, shares, out, coarse, height, width, channels, channel, count, levels, has_shares,
    IS_FINEST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the same for `levels` levels, the finest of this size, from the one at `coarse` on; many by one program."""
    coarse = coarse.to(tl.int64)
    while levels > 0:
        levels -= 1
        rows, columns = tl.maximum(height >> levels, 1), tl.maximum(width >> levels, 1)
        half_rows, half_columns = tl.maximum(rows // 2, 1), tl.maximum(columns // 2, 1)
        fine = coarse - rows.to(tl.int64) * columns
        start = tl.program_id(0).to(tl.int64) * BLOCK
        while start < (coarse - fine) * count:
            i, j, c = places(start, columns, count, BLOCK)
            here = i < rows
            total = tl.zeros([BLOCK], given.dtype.element_ty)
            row_uses, column_uses = uses_of(rows, half_rows, i), uses_of(columns, half_columns, j)
            for a in tl.static_range(2):
                for b in tl.static_range(2):
                    weight = row_uses[a] * column_uses[b]
                    used = here & (weight > 0)
                    at = (coarse + (i // 2 - a) * half_columns + j // 2 - b) * channels + channel + c
                    above = tl.load(given + at, used, other=0)
                    above += tl.load(shares + at, tl.where(used, has_shares, 0) > 0, other=0)
                    total += weight.to(total.dtype) * above
            total *= scale_of(rows, half_rows, columns, half_columns, total.dtype)
            own_at = (fine + i * columns + j) * channels + channel + c
            is_last = tl.where(here, levels, 1) == 0 if IS_FINEST else i < 0
            own = tl.load(given + own_at, is_last, other=0)
            tl.store(out + start + tl.arange(0, BLOCK), total + own, is_last)
            tl.store(shares + own_at, total, here & (is_last == 0))
            start += tl.num_programs(0) * BLOCK
        # What the lanes have written is what they read next.
        tl.debug_barrier()
        coarse, has_shares = fine, 1


def forward(images: Sequence[Tensor], sizes: Sizes) -> Tensor:
    """See op.mip_pyramid; [T, C]."""
    channels = sum(image.shape[2] for image in images)
    out = images[0].new_empty((sum(height * width for height, width in sizes), channels))
    height, width = sizes[0]
    torch.cat([image.detach() for image in images], 2, out=out[: height * width].unflatten(0, (height, width)))
    group = min(MOST_CHANNELS, triton.next_power_of_2(max(channels, 1)))
    for level, levels, is_even in _steps(sizes, channels):
        start = (out, _first(sizes, level), *sizes[level], channels)
        if is_even:
            tile = 2**MOST_HALVINGS
            tiles = triton.cdiv(sizes[level][0], tile) * triton.cdiv(sizes[level][1], tile)
            programs = tiles * triton.cdiv(channels, group)
            launch(shrink_even, programs, *start, HALVINGS=levels, SIZE=tile, CHANNELS=group, num_warps=WARPS)
        else:
            height, width = sizes[level + 1]
            launch(shrink, triton.cdiv(height * width * channels, BLOCK), *start, levels, BLOCK=BLOCK, num_warps=WARPS)
    return out


def backward(grad: Tensor, sizes: Sizes, channels: Sequence[int]) -> tuple[Tensor, ...]:
    """Return the gradients of images with these numbers of channels, from that of all levels [T, C]."""
    given, total = grad.contiguous(), sum(channels)
    images = [given.new_empty((*sizes[0], count)) for count in channels]
    # What each level gets from the coarser ones.
    shares = torch.empty_like(given)
    for level, levels, is_even in reversed(_steps(sizes, total)):
        height, width = sizes[level]
        has_shares, is_finest = level + levels < len(sizes) - 1, level == 0
        for index, out in enumerate(images if is_finest else [shares]):
            channel, count = (sum(channels[:index]), channels[index]) if is_finest else (0, total)
            size = (height, width, total, channel, count)
            programs = triton.cdiv(height * width * count, BLOCK)
            constants = {"IS_FINEST": is_finest, "BLOCK": BLOCK, "num_warps": WARPS}
            if is_even:
                constants |= {"HALVINGS": levels, "HAS_SHARES": has_shares}
                launch(spread_even, programs, given, shares, out, _first(sizes, level), *size, **constants)
            else:
                programs, coarse = programs if levels == 1 else min(programs, 1), _first(sizes, level + levels)
                launch(spread, programs, given, shares, out, coarse, *size, levels, int(has_shares), **constants)
    return tuple(images)


def _steps(sizes: Sizes, channels: int) -> list[tuple[int, int, bool]]:
    """Return the launches from fine to coarse: a level, how many are made from it, whether of even sizes."""
    steps, level = [], 0
    while level < len(sizes) - 1:
        left = len(sizes) - 1 - level
        height, width = sizes[level]
        halvings = ((height | width) & -(height | width)).bit_length() - 1
        if sizes[level + 1][0] * sizes[level + 1][1] * channels <= BLOCK:
            steps.append((level, left, False))
        else:
            steps.append((level, min(max(halvings, 1), MOST_HALVINGS, left), halvings > 0))
        level += steps[-1][1]
    return steps


def _first(sizes: Sizes, level: int) -> int:
    """Return the number of texels before a level."""
    return sum(height * width for height, width in sizes[:level])
