"""Normalized vectors on CUDA."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffrender.ops.normalize.op import LEAST_LENGTH
from diffrender.ops.triton_launch import launch

BLOCK = 256


@triton.jit
def load(vectors, at, here, LEAST: tl.constexpr):
    """Return vectors divided by their lengths, and 1 / length, 0 where they have none."""
    x = tl.load(vectors + at, here, other=0)
    y = tl.load(vectors + at + 1, here, other=0)
    z = tl.load(vectors + at + 2, here, other=0)
    squared = x * x + y * y + z * z
    short = squared < LEAST * LEAST
    scale = tl.where(short, 0.0, 1.0 / tl.sqrt(tl.where(short, 1.0, squared)))
    return x * scale, y * scale, z * scale, scale


@triton.jit(do_not_specialize=["n"])
def evaluate(vectors, out, n, LEAST: tl.constexpr, BLOCK: tl.constexpr):
    """Write normalized vectors, one lane each."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here, at = m < n, 3 * m
    x, y, z, _ = load(vectors, at, here, LEAST)
    tl.store(out + at, x, here)
    tl.store(out + at + 1, y, here)
    tl.store(out + at + 2, z, here)


@triton.jit(do_not_specialize=["n"])
def gradients(vectors, grad, out, n, LEAST: tl.constexpr, BLOCK: tl.constexpr):
    """Write the incoming gradient, without its part along the vector, over the length."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here, at = m < n, 3 * m
    x, y, z, scale = load(vectors, at, here, LEAST)
    gx = tl.load(grad + at, here, other=0)
    gy = tl.load(grad + at + 1, here, other=0)
    gz = tl.load(grad + at + 2, here, other=0)
    along = gx * x + gy * y + gz * z
    tl.store(out + at, (gx - along * x) * scale, here)
    tl.store(out + at + 1, (gy - along * y) * scale, here)
    tl.store(out + at + 2, (gz - along * z) * scale, here)


def forward(vectors: Tensor) -> Tensor:
    """See op.normalize."""
    vectors = vectors.contiguous()
    out, n = torch.empty_like(vectors), len(vectors)
    launch(evaluate, triton.cdiv(n, BLOCK), vectors, out, n, LEAST=LEAST_LENGTH, BLOCK=BLOCK)
    return out


def backward(grad_out: Tensor, vectors: Tensor, wants: Sequence[bool]) -> tuple[Tensor]:
    """See run_differentiable."""
    vectors, grad = vectors.contiguous(), grad_out.contiguous()
    out, n = torch.empty_like(vectors), len(vectors)
    launch(gradients, triton.cdiv(n, BLOCK), vectors, grad, out, n, LEAST=LEAST_LENGTH, BLOCK=BLOCK)
    return (out,)
