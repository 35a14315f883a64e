"""A separable blur on CUDA, one lane per number. Each sum has one order: results are the same bits each time."""

from __future__ import annotations

from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffrender.list_sizes import hold
from diffrender.ops.triton_launch import launch
from diffrender.ops.triton_places import places

# Numbers per program.
BLOCK = 2048
WARPS = 8
ALL = slice(None)


@triton.jit(do_not_specialize=["rows", "length", "inner", "reach"])
def blur_axis(
    images, weights, out, rows, length, inner, reach, TRANSPOSED: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Blur images [rows, length, inner] along their middle axis, or apply the transpose.

    weights: [2, 2 reach + 1] of the offsets -reach..reach, and the sum of the ones before each.
    """
    start = tl.program_id(0).to(tl.int64) * BLOCK
    row, place, i = places(start, length, inner, BLOCK)
    here, step, before = row < rows, inner.to(tl.int64), weights + 2 * reach + 1
    line = images + row * length * step + i
    total = tl.zeros([BLOCK], images.dtype.element_ty)
    is_first, is_last = (place == 0).to(total.dtype), (place == length - 1).to(total.dtype)
    # Offsets by a whole length or more lead outside from anywhere; from `low` to `high` they stay inside.
    k, end = tl.maximum(reach - length + 1, 0), tl.minimum(reach + length, 2 * reach + 1)
    low, high = tl.where(here, reach - place, end), reach - place + length
    at = line + (place + k - reach) * step
    while k < end:
        share = tl.load(weights + k)
        if TRANSPOSED:
            # The blur reads the border for all that is outside of it.
            share += is_first * tl.load(before + 2 * reach - k) + is_last * tl.load(before + k)
        total += share * tl.load(at, (low <= k) & (k < high), other=0)
        at += step
        k += 1
    if not TRANSPOSED:
        beyond_last = reach - (length - 1 - place)
        first = tl.load(line, here & (low > 0), other=0)
        last = tl.load(line + (length - 1) * step, here & (beyond_last > 0), other=0)
        total += first * tl.load(before + tl.maximum(low, 0), here, other=0)
        total += last * tl.load(before + tl.maximum(beyond_last, 0), here, other=0)
    tl.store(out + start + tl.arange(0, BLOCK), total, here)


def forward(images: Tensor, weights: Tensor, channels: slice = ALL) -> Tensor:
    """See op.blur_channels."""
    return _with_channels(images, channels, _blur(images[..., channels], weights, (2, 1), False))


def backward(grad: Tensor, weights: Tensor, channels: slice = ALL) -> Tensor:
    """Return gradient with respect to images: the two passes transposed, in reverse order."""
    return _with_channels(grad, channels, _blur(grad[..., channels], weights, (1, 2), True))


def slope_product(
    grad: Tensor, images: Tensor, weights: Tensor, slopes: Tensor, channels: slice, where: Tensor | None
) -> Tensor:
    """Return the sum [] of `grad` times the derivative of the blurred channels by sigma; slopes: of the weights."""
    own, grad = images[..., channels], grad[..., channels]
    if where is not None:
        grad = grad.where(where[..., None], 0)
    change = _along(_along(own, 2, weights), 1, slopes) + _along(_along(own, 2, slopes), 1, weights)
    return (grad * change).sum()


def _with_channels(images: Tensor, channels: slice, own: Tensor) -> Tensor:
    if own.shape == images.shape:
        return own
    copy = images.clone()
    copy[..., channels] = own
    return copy


def _blur(images: Tensor, weights: Tensor, axes: tuple[int, int], transposed: bool) -> Tensor:
    for axis in axes:
        images = _along(images, axis, weights, transposed)
    return images


def _along(images: Tensor, axis: int, weights: Tensor, transposed: bool = False) -> Tensor:
    """Return images blurred along one axis by these weights, or the transpose of that."""
    table = hold(_table(tuple(weights.tolist()), weights.dtype, images.device))
    images = images.contiguous()
    out, reach = torch.empty_like(images), len(weights) // 2
    rows, length, inner = images.shape[:axis].numel(), images.shape[axis], images.shape[axis + 1 :].numel()
    size, constants = (rows, length, inner, reach), {"TRANSPOSED": transposed, "BLOCK": BLOCK, "num_warps": WARPS}
    launch(blur_axis, triton.cdiv(images.numel(), BLOCK), images, table, out, *size, **constants)
    return out


@lru_cache(maxsize=32)
def _table(weights: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return [2, K] the weights and the sums of those before; kept, since each copy to the device waits for it."""
    exact = torch.tensor(weights, dtype=torch.float64, device="cpu")
    before = torch.cat([exact.new_zeros(1), exact.cumsum(0)[:-1]])
    return torch.stack([exact, before]).to(device, dtype)
