"""Normalized vectors on CUDA."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffrender.ops.normalize.op import LEAST_LENGTH
from diffrender.ops.triton_launch import launch
from diffrender.ops.triton_vec3 import dot, load_triple, plus, store_triple

BLOCK = 256


@triton.jit
def load_normalized(vectors, m, here, LEAST: tl.constexpr):
    """Return vectors divided by their lengths, and 1 / length, 0 where they have none."""
    x, y, z = load_triple(vectors, m, here)
    squared = x * x + y * y + z * z
    short = squared < LEAST * LEAST
    scale = tl.where(short, 0.0, 1.0 / tl.sqrt(tl.where(short, 1.0, squared)))
    return (x * scale, y * scale, z * scale), scale


@triton.jit(do_not_specialize=["n"])
def evaluate(vectors, out, n, LEAST: tl.constexpr, BLOCK: tl.constexpr):
    """Write normalized vectors, one lane each."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    unit, _ = load_normalized(vectors, m, m < n, LEAST)
    store_triple(out, m, unit, m < n)


@triton.jit(do_not_specialize=["n", "count"])
def derivatives(vectors, given, out, n, count, LEAST: tl.constexpr, BLOCK: tl.constexpr):
    """Write each given gradient or tangent [count, M, 3], without its part along the vector, over the length."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n
    unit, scale = load_normalized(vectors, m, here, LEAST)
    left = count
    while left > 0:
        g = load_triple(given, m, here)
        x, y, z = plus(g, -dot(g, unit), unit)
        store_triple(out, m, (x * scale, y * scale, z * scale), here)
        m += n
        left -= 1


def forward(vectors: Tensor) -> Tensor:
    """See op.normalize."""
    vectors = vectors.contiguous()
    out, n = torch.empty_like(vectors), len(vectors)
    launch(evaluate, triton.cdiv(n, BLOCK), vectors, out, n, LEAST=LEAST_LENGTH, BLOCK=BLOCK)
    return out


def backward(grad_out: Tensor, vectors: Tensor, wants: Sequence[bool]) -> tuple[Tensor]:
    """See run_differentiable."""
    return (jvp([grad_out[None]], vectors)[0],)


def jvp(tangents: Sequence[Tensor], vectors: Tensor) -> Tensor:
    """See run_differentiable: the Jacobian is symmetric, so a tangent goes forward as a gradient goes back."""
    vectors, given = vectors.contiguous(), tangents[0].contiguous()
    out, n = torch.empty_like(given), len(vectors)
    sizes = (n, len(given))
    launch(derivatives, triton.cdiv(n, BLOCK), vectors, given, out, *sizes, LEAST=LEAST_LENGTH, BLOCK=BLOCK)
    return out
