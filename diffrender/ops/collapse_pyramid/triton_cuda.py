"""The sum of an image pyramid and its gradient on CUDA, a launch per level, one lane per number.

Each number is written by one lane, its terms in a fixed order: results are the same bits each time.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffrender.ops.triton_launch import launch
from diffrender.ops.triton_places import places

BLOCK = 1024
WARPS = 8
Sizes = tuple[tuple[int, int], ...]


@triton.jit
def beside(place, size, CLOSED: tl.constexpr):
    """Return a place, or where the one outside of 0..size-1 is: at the border, or on the other side."""
    inside = tl.minimum(tl.maximum(place, 0), size - 1)
    return (place + size) % size if CLOSED else inside


@triton.jit(do_not_specialize=["first", "coarse", "height", "width", "channels"])
def add_enlarged(
    texels, total, out, first, coarse, height, width, channels, SHARE: tl.constexpr, LAST: tl.constexpr,
    CLOSED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write SHARE times the level of `texels` at `first`, of height x width, plus the coarser level of `total`.

    LAST: of what the coarser level is multiplied by, itself being the last; else 1.
    """
    start = tl.program_id(0).to(tl.int64) * BLOCK
    i, j, c = places(start, width, channels, BLOCK)
    here = i < height
    rows, columns = height // 2, width // 2
    row, column = i // 2, j // 2
    other_row = beside(row + 2 * (i % 2) - 1, rows, False)
    other_column = beside(column + 2 * (j % 2) - 1, columns, CLOSED)
    base, other = coarse + row * columns, coarse + other_row * columns
    near = 0.75 * tl.load(total + (base + column) * channels + c, here, other=0)
    near += 0.25 * tl.load(total + (other + column) * channels + c, here, other=0)
    far = 0.75 * tl.load(total + (base + other_column) * channels + c, here, other=0)
    far += 0.25 * tl.load(total + (other + other_column) * channels + c, here, other=0)
    own = tl.load(texels + (first + i * width + j) * channels + c, here, other=0)
    tl.store(out + start + tl.arange(0, BLOCK), SHARE * own + LAST * (0.75 * near + 0.25 * far), here)


@triton.jit(do_not_specialize=["height", "width", "channels"])
def shrink_gradient(
    fine, out, height, width, channels, SHARE: tl.constexpr, CLOSED: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Write SHARE times the gradient of a level, of height x width, from `fine`, that of its enlarged image."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    i, j, c = places(start, width, channels, BLOCK)
    here = i < height
    total = tl.zeros([BLOCK], fine.dtype.element_ty)
    # A texel's own 2 x 2, and those of its neighbours that are next to it; at a border it is its own neighbour.
    for a in tl.static_range(4):
        row = beside(2 * i + a - 1, 2 * height, False)
        for b in tl.static_range(4):
            column = beside(2 * j + b - 1, 2 * width, CLOSED)
            weight = (0.25 if a == 0 or a == 3 else 0.75) * (0.25 if b == 0 or b == 3 else 0.75)
            total += weight * tl.load(fine + (row * 2 * width + column) * channels + c, here, other=0)
    tl.store(out + start + tl.arange(0, BLOCK), SHARE * total, here)


def forward(texels: Tensor, sizes: Sizes, coarse_share: float, closed: bool) -> Tensor:
    """See op.collapse_pyramid."""
    texels, n_channels = texels.contiguous(), texels.shape[1]
    first = [sum(rows * columns for rows, columns in sizes[:level]) for level in range(len(sizes))]
    total, coarse, last = texels, first[-1], coarse_share
    for level in range(len(sizes) - 2, -1, -1):
        out = texels.new_empty((*sizes[level], n_channels))
        launch(
            add_enlarged, triton.cdiv(out.numel(), BLOCK), texels, total, out, first[level], coarse, *sizes[level],
            n_channels, SHARE=float(coarse_share) if level else 1.0, LAST=float(last), CLOSED=closed, BLOCK=BLOCK,
            num_warps=WARPS,
        )  # fmt: skip
        total, coarse, last = out, 0, 1.0
    return total


def backward(grad: Tensor, sizes: Sizes, coarse_share: float, closed: bool) -> Tensor:
    """Return the gradient of all levels [L, C] from that of the image."""
    levels, share = [grad.contiguous()], float(coarse_share)
    for size in sizes[1:]:
        out = grad.new_empty((*size, grad.shape[2]))
        programs = triton.cdiv(out.numel(), BLOCK)
        constants = {"SHARE": share, "CLOSED": closed, "BLOCK": BLOCK, "num_warps": WARPS}
        launch(shrink_gradient, programs, levels[-1], out, *size, grad.shape[2], **constants)
        levels.append(out)
        share = 1.0
    return torch.cat([level.reshape(-1, grad.shape[2]) for level in levels])
