"""Vectors, colours and corners in Triton kernels, as triples with one number per lane: as vec3.py is for Numba."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

# What becomes of a gradient: it is not wanted, is one row per point, or one row that is the sum over all points.
UNWANTED, PER_POINT, SUMMED = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)


@triton.jit
def load_triple(array, row, here):
    """Return rows of an array of triples; zeros where not `here`."""
    at = array + 3 * row
    return tl.load(at, here, other=0), tl.load(at + 1, here, other=0), tl.load(at + 2, here, other=0)


@triton.jit
def store_triple(array, row, value, here):
    """Write rows of an array of triples."""
    at = array + 3 * row
    tl.store(at, value[0], here)
    tl.store(at + 1, value[1], here)
    tl.store(at + 2, value[2], here)


@triton.jit
def dot(a, b):
    """Return a . b."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@triton.jit
def cross(a, b):
    """Return a x b."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@triton.jit
def plus(a, s, b):
    """Return a + s b."""
    return a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2]


@triton.jit
def to_dtype(a, dtype):
    """Return a in another dtype."""
    return a[0].to(dtype), a[1].to(dtype), a[2].to(dtype)


@triton.jit
def tangent_row(k, n_points, m, step):
    """Return the row of tangent k at points m in [K, M, ...], or in [K, 1, ...] where one row serves all: step 0."""
    return k * (1 + (n_points.to(tl.int64) - 1) * step) + m * step


@triton.jit
def give(grad, row, shared_row, here, value, HOW: tl.constexpr):
    """Write the gradient of a number per point to `row`, or add its sum to `shared_row`; zero where not `here`."""
    if HOW == PER_POINT:
        tl.store(grad + row, value, here)
    elif HOW == SUMMED:
        tl.atomic_add(grad + shared_row, tl.sum(tl.where(here, value, 0)), sem="relaxed")


@triton.jit
def give_vector(grad, row, shared_row, here, value, HOW: tl.constexpr):
    """As `give`, for triples."""
    give(grad, 3 * row, 3 * shared_row, here, value[0], HOW)
    give(grad, 3 * row + 1, 3 * shared_row + 1, here, value[1], HOW)
    give(grad, 3 * row + 2, 3 * shared_row + 2, here, value[2], HOW)


def step_of(part: Tensor) -> int:
    """Return the number of rows from one point to the next: 0 where one row serves all."""
    return 0 if len(part) == 1 else 1


def rooms_for(inputs: Sequence[Tensor], wants: Sequence[bool]) -> tuple[list[Tensor], list[int]]:
    """Return memory for the gradients of contiguous inputs, and how `give` fills each."""
    rooms: list[Tensor] = []
    ways: list[int] = []
    for part, wanted in zip(inputs, wants, strict=True):
        is_shared = len(part) == 1
        rooms.append((torch.zeros_like(part) if is_shared else torch.empty_like(part)) if wanted else part)
        ways.append((SUMMED.value if is_shared else PER_POINT.value) if wanted else UNWANTED.value)
    return rooms, ways
