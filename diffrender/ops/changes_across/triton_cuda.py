"""Changes across edges on CUDA. Arithmetic in float64, as everything that decides."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffrender.ops.triton_launch import launch

BLOCK = 256


@triton.jit
def square_difference(values, a, b, here, CHANNELS: tl.constexpr):
    """Return the squared distances of rows a and b."""
    squared = tl.zeros(a.shape, tl.float64)
    for c in tl.static_range(CHANNELS):
        first = tl.load(values + a * CHANNELS + c, here, other=0).to(tl.float64)
        difference = first - tl.load(values + b * CHANNELS + c, here, other=0).to(tl.float64)
        squared += difference * difference
    return squared


@triton.jit(do_not_specialize=["n"])
def compare(
    values, sides, out, n, LEAST_SQUARED: tl.constexpr, CHANNELS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Write the results, one edge a lane."""
    e = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = e < n
    changes = tl.zeros((BLOCK,), tl.int1)
    for t in tl.static_range(2):
        a, b = tl.load(sides + 4 * e + t, here, other=0), tl.load(sides + 4 * e + 2 + t, here, other=0)
        changes |= square_difference(values, a, b, here, CHANNELS) > LEAST_SQUARED
    tl.store(out + e, changes, here)


def forward(values: Tensor, sides: Tensor, least: float) -> Tensor:
    """See op.changes_across."""
    values, sides = values.contiguous(), sides.contiguous()
    out, n = sides.new_empty(len(sides), dtype=torch.bool), len(sides)
    # A constant: numbers of a launch are float32.
    constants = {"LEAST_SQUARED": least**2, "CHANNELS": values.shape[1], "BLOCK": BLOCK}
    launch(compare, triton.cdiv(n, BLOCK), values, sides, out, n, **constants)
    return out
