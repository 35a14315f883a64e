"""Interpolation and its gradient on CUDA. Gradients of values are summed as in ../triton_scatter.py."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffrender.ops.tangents import count_tangents
from diffrender.ops.triton_launch import launch, tangents_or
from diffrender.ops.triton_scatter import add_runs, find_runs
from diffrender.ops.triton_vec3 import load_triple, store_triple, to_dtype

BLOCK = 256
OPTIONS = {"BLOCK": BLOCK, "num_warps": BLOCK // 32}


@triton.jit
def weigh(values, corner, bary, c, here, CHANNELS: tl.constexpr):
    """Return the sum of a channel of the corners' values, weighted by their coordinates."""
    value = bary[0] * tl.load(values + corner[0] * CHANNELS + c, here, other=0)
    value += bary[1] * tl.load(values + corner[1] * CHANNELS + c, here, other=0)
    value += bary[2] * tl.load(values + corner[2] * CHANNELS + c, here, other=0)
    return value


@triton.jit
def write_values(out, m, values, corner, bary, here, CHANNELS: tl.constexpr):
    """Write rows m of the sum of the corners' values, weighted by their coordinates."""
    bary = to_dtype(bary, values.dtype.element_ty)
    for c in range(CHANNELS):
        tl.store(out + m * CHANNELS + c, weigh(values, corner, bary, c, here, CHANNELS), here)


@triton.jit
def write_tangents(
    out, m, d_values, values, corner, d_bary, bary, here,
    OF_VALUES: tl.constexpr, OF_BARY: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Write rows m of a tangent: the tangents of values or of coordinates, or both, weighted by the others."""
    bary = to_dtype(bary, values.dtype.element_ty)
    for c in range(CHANNELS):
        value = tl.zeros(m.shape, values.dtype.element_ty)
        if OF_VALUES:
            value += weigh(d_values, corner, bary, c, here, CHANNELS)
        if OF_BARY:
            value += weigh(values, corner, d_bary, c, here, CHANNELS).to(value.dtype)
        tl.store(out + m * CHANNELS + c, value, here)


@triton.jit
def add_values_gradient(total, grad, m, corner, bary, first, last, here, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    """Add the coordinates times the gradient of rows m to the corners' rows of total [V, C]."""
    kind = total.dtype.element_ty
    b0, b1, b2 = bary[0].to(kind), bary[1].to(kind), bary[2].to(kind)
    for c in range(CHANNELS):
        g = tl.load(grad + m * CHANNELS + c, here, other=0)
        add_runs(total, corner[0] * CHANNELS + c, b0 * g, first, last, BLOCK)
        add_runs(total, corner[1] * CHANNELS + c, b1 * g, first, last, BLOCK)
        add_runs(total, corner[2] * CHANNELS + c, b2 * g, first, last, BLOCK)


@triton.jit
def bary_gradient(values, grad, m, corner, zero, here, CHANNELS: tl.constexpr):
    """Return the gradient of rows m with respect to the coordinates, in the dtype of `zero`."""
    g0, g1, g2 = zero, zero, zero
    for c in range(CHANNELS):
        g = tl.load(grad + m * CHANNELS + c, here, other=0).to(zero.dtype)
        g0 += g * tl.load(values + corner[0] * CHANNELS + c, here, other=0)
        g1 += g * tl.load(values + corner[1] * CHANNELS + c, here, other=0)
        g2 += g * tl.load(values + corner[2] * CHANNELS + c, here, other=0)
    return g0, g1, g2


@triton.jit(do_not_specialize=["n"])
def evaluate(values, faces, face_id, bary, out, n, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    """Write values, one point a lane."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n
    corner = load_triple(faces, tl.load(face_id + m, here, other=0), here)
    write_values(out, m, values, corner, load_triple(bary, m, here), here, CHANNELS)


@triton.jit(do_not_specialize=["n"])
def gradients(
    values, faces, face_id, bary, grad, total_values, grad_bary, n,
    CHANNELS: tl.constexpr, WANTS_VALUES: tl.constexpr, WANTS_BARY: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add the gradient of values to total_values [V, C] and write that of coordinates, one point a lane."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n
    face = tl.load(face_id + m, here, other=-1)
    corner = load_triple(faces, face, here)
    if WANTS_VALUES:
        first, last = find_runs(face, here, BLOCK)
        add_values_gradient(
            total_values, grad, m, corner, load_triple(bary, m, here), first, last, here, CHANNELS, BLOCK
        )
    if WANTS_BARY:
        zero = tl.zeros([BLOCK], values.dtype.element_ty)
        store_triple(grad_bary, m, bary_gradient(values, grad, m, corner, zero, here, CHANNELS), here)


@triton.jit(do_not_specialize=["n", "n_numbers", "n_tangents"])
def tangents_of(
    d_values, d_bary, values, faces, face_id, bary, out, n, n_numbers, n_tangents,
    OF_VALUES: tl.constexpr, OF_BARY: tl.constexpr, CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write all tangents of values, one point a lane; n_numbers: from one tangent of `values` to the next."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n
    corner = load_triple(faces, tl.load(face_id + m, here, other=0), here)
    weights = load_triple(bary, m, here)
    left = n_tangents
    while left > 0:
        moved = load_triple(d_bary, m, here & OF_BARY)
        write_tangents(out, m, d_values, values, corner, moved, weights, here, OF_VALUES, OF_BARY, CHANNELS)
        d_values += n_numbers
        m += n
        left -= 1


def forward(values: Tensor, faces: Tensor, face_id: Tensor, bary: Tensor) -> Tensor:
    """See op.interpolate."""
    n, channels = len(face_id), values.shape[1]
    out = torch.empty((n, channels), dtype=values.dtype, device=values.device)
    inputs = [part.contiguous() for part in (values, faces, face_id, bary)]
    launch(evaluate, triton.cdiv(n, BLOCK), *inputs, out, n, CHANNELS=channels, **OPTIONS)
    return out


def backward(
    grad_out: Tensor, values: Tensor, faces: Tensor, face_id: Tensor, bary: Tensor, wants: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """See run_differentiable."""
    wants_values, _, _, wants_bary = wants
    values, bary, n = values.contiguous(), bary.contiguous(), len(face_id)
    grad_values = torch.zeros_like(values) if wants_values else None
    grad_bary = torch.empty_like(bary) if wants_bary else None
    launch(
        gradients, triton.cdiv(n, BLOCK), values, faces.contiguous(), face_id.contiguous(), bary, grad_out.contiguous(),
        grad_values if wants_values else values, grad_bary if wants_bary else bary, n,
        CHANNELS=values.shape[1], WANTS_VALUES=wants_values, WANTS_BARY=wants_bary, **OPTIONS,
    )  # fmt: skip
    return grad_values, None, None, grad_bary


def jvp(tangents: Sequence[Tensor | None], values: Tensor, faces: Tensor, face_id: Tensor, bary: Tensor) -> Tensor:
    """See run_differentiable."""
    n, n_tangents = len(face_id), count_tangents(tangents)
    values, faces, face_id, bary = (part.contiguous() for part in (values, faces, face_id, bary))
    moved, given = tangents_or((values, bary), (tangents[0], tangents[3]))
    out = torch.empty((n_tangents, n, values.shape[1]), dtype=values.dtype, device=values.device)
    launch(
        tangents_of, triton.cdiv(n, BLOCK), *moved, values, faces, face_id, bary, out, n, values.numel(), n_tangents,
        OF_VALUES=given[0], OF_BARY=given[1], CHANNELS=values.shape[1], **OPTIONS,
    )  # fmt: skip
    return out
