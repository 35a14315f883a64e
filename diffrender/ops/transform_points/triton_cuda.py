"""Points under affine maps on CUDA, in the dtype of the points. A program has a map and some points."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffrender.ops.tangents import count_tangents
from diffrender.ops.triton_launch import launch, tangents_or
from diffrender.ops.triton_vec3 import load_triple, store_triple

BLOCK = 256


@triton.jit
def place(n_verts, n_blocks, BLOCK: tl.constexpr):
    """Return the map of a program, its points, and which of them there are."""
    program = tl.program_id(0).to(tl.int64)
    v = program % n_blocks * BLOCK + tl.arange(0, BLOCK)
    return program // n_blocks, v, v < n_verts


@triton.jit
def load_row(matrices, row):
    """Return the four numbers of a row of the maps."""
    at = matrices + 4 * row
    return tl.load(at), tl.load(at + 1), tl.load(at + 2), tl.load(at + 3)


@triton.jit(do_not_specialize=["n_verts", "n_blocks"])
def evaluate(points, matrices, out, n_verts, n_blocks, K: tl.constexpr, BLOCK: tl.constexpr):
    """Write points under one map."""
    view, v, here = place(n_verts, n_blocks, BLOCK)
    x, y, z = load_triple(points, v, here)
    for k in tl.static_range(K):
        a, b, c, d = load_row(matrices, view * K + k)
        tl.store(out + (view * n_verts + v) * K + k, a * x + b * y + c * z + d, here)


@triton.jit(do_not_specialize=["n_verts", "n_views"])
def point_gradients(matrices, grad, out, n_verts, n_views, K: tl.constexpr, BLOCK: tl.constexpr):
    """Write the gradients of points: the sum over maps, each transposed."""
    v = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = v < n_verts
    x = tl.zeros((BLOCK,), grad.dtype.element_ty)
    y, z = x, x
    at, step, left = grad + v * K, n_verts.to(tl.int64) * K, n_views
    while left > 0:
        for k in tl.static_range(K):
            g = tl.load(at + k, here, other=0)
            a, b, c, _ = load_row(matrices, k)
            x += a * g
            y += b * g
            z += c * g
        at += step
        matrices += 4 * K
        left -= 1
    store_triple(out, v, (x, y, z), here)


@triton.jit(do_not_specialize=["n_verts", "n_blocks"])
def matrix_gradients(points, grad, out, n_verts, n_blocks, K: tl.constexpr, BLOCK: tl.constexpr):
    """Add the share of some points in the gradient of one map."""
    view, v, here = place(n_verts, n_blocks, BLOCK)
    x, y, z = load_triple(points, v, here)
    for k in tl.static_range(K):
        g = tl.load(grad + (view * n_verts + v) * K + k, here, other=0)
        at = out + 4 * (view * K + k)
        tl.atomic_add(at, tl.sum(g * x), sem="relaxed")
        tl.atomic_add(at + 1, tl.sum(g * y), sem="relaxed")
        tl.atomic_add(at + 2, tl.sum(g * z), sem="relaxed")
        tl.atomic_add(at + 3, tl.sum(g), sem="relaxed")


@triton.jit(do_not_specialize=["n_verts", "n_blocks", "n_views", "n_tangents"])
def tangents_of(
    d_points, d_matrices, points, matrices, out, n_verts, n_blocks, n_views, n_tangents,
    OF_POINTS: tl.constexpr, OF_MATRICES: tl.constexpr, K: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write all tangents of points under one map, which is affine in the points and linear in the map."""
    view, v, here = place(n_verts, n_blocks, BLOCK)
    x, y, z = load_triple(points, v, here)
    total, at, left = n_verts.to(tl.int64), out + (view * n_verts + v) * K, n_tangents
    while left > 0:
        if OF_POINTS:
            dx, dy, dz = load_triple(d_points, v, here)
        for k in tl.static_range(K):
            value = tl.zeros((BLOCK,), points.dtype.element_ty)
            if OF_MATRICES:
                a, b, c, d = load_row(d_matrices, view * K + k)
                value += a * x + b * y + c * z + d
            if OF_POINTS:
                a, b, c, _ = load_row(matrices, view * K + k)
                value += a * dx + b * dy + c * dz
            tl.store(at + k, value, here)
        d_points += 3 * total
        d_matrices += 4 * K * n_views
        at += K * n_views * total
        left -= 1


def forward(points: Tensor, matrices: Tensor) -> Tensor:
    """See op.transform_points."""
    points, matrices = points.contiguous(), matrices.contiguous()
    n_views, width = matrices.shape[:2]
    out, n_blocks = points.new_empty(n_views, len(points), width), triton.cdiv(len(points), BLOCK)
    launch(evaluate, n_views * n_blocks, points, matrices, out, len(points), n_blocks, K=width, BLOCK=BLOCK)
    return out


def backward(
    grad_out: Tensor, points: Tensor, matrices: Tensor, wants: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """See run_differentiable."""
    points, matrices, grad = points.contiguous(), matrices.contiguous(), grad_out.contiguous()
    (n_views, width), n_blocks = matrices.shape[:2], triton.cdiv(len(points), BLOCK)
    to_points = to_matrices = None
    if wants[0]:
        to_points = torch.empty_like(points)
        launch(point_gradients, n_blocks, matrices, grad, to_points, len(points), n_views, K=width, BLOCK=BLOCK)
    if wants[1]:
        to_matrices = torch.zeros_like(matrices)
        launch(
            matrix_gradients, n_views * n_blocks, points, grad, to_matrices, len(points), n_blocks, K=width, BLOCK=BLOCK
        )
    return to_points, to_matrices


def jvp(tangents: Sequence[Tensor | None], points: Tensor, matrices: Tensor) -> Tensor:
    """See run_differentiable."""
    inputs = [points.contiguous(), matrices.contiguous()]
    moved, given = tangents_or(inputs, tangents)
    (n_views, width), n_blocks = matrices.shape[:2], triton.cdiv(len(points), BLOCK)
    out = points.new_empty(count_tangents(tangents), n_views, len(points), width)
    launch(
        tangents_of, n_views * n_blocks, *moved, *inputs, out, len(points), n_blocks, n_views, len(out),
        OF_POINTS=given[0], OF_MATRICES=given[1], K=width, BLOCK=BLOCK,
    )  # fmt: skip
    return out
