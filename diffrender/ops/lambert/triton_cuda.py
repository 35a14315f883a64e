"""A diffuse surface and its gradients on CUDA, one lane per point.

Gradients of rows that serve all points are sums by atomic additions: their last bits depend on the order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import triton
import triton.language as tl
from torch import Tensor

from diffrender.ops.tangents import count_tangents
from diffrender.ops.triton_launch import launch, tangents_or
from diffrender.ops.triton_vec3 import (
    dot,
    give_vector,
    load_triple,
    plus,
    rooms_for,
    step_of,
    store_triple,
    tangent_row,
)

BLOCK = 128
ONE_OVER_PI = tl.constexpr(1 / math.pi)


@triton.jit
def share_of(n, to):
    """Return what a white surface sends on of light from `to`, and whether that light is from the front."""
    cosine = dot(n, to)
    is_lit = (cosine < 0) == 0  # also where it is NaN, which stays
    return tl.where(is_lit, cosine * ONE_OVER_PI, 0), is_lit


@triton.jit(do_not_specialize=["n_points", "n_lights", "light_step", "color_step"])
def evaluate(
    normal, to_light, base_color, out, n_points, n_lights, light_step, color_step, BLOCK: tl.constexpr
):  # fmt: skip
    """Write BSDF times cosine [M, S, 3]."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n_points
    n, color = load_triple(normal, m, here), load_triple(base_color, m * color_step, here)
    s = 0
    while s < n_lights:
        share, _ = share_of(n, load_triple(to_light, m * light_step * n_lights + s, here))
        store_triple(out, m * n_lights + s, (share * color[0], share * color[1], share * color[2]), here)
        s += 1


@triton.jit(do_not_specialize=["n_points", "n_lights", "light_step", "color_step"])
def gradients(
    grad, normal, to_light, base_color, grad_normal, grad_light, grad_color, n_points, n_lights, light_step, color_step,
    NORMAL: tl.constexpr, LIGHT: tl.constexpr, COLOR: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write or add the gradients with respect to each input."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n_points
    n, color = load_triple(normal, m, here), load_triple(base_color, m * color_step, here)
    zero = tl.zeros([BLOCK], n[0].dtype)
    g_n, g_color = (zero, zero, zero), (zero, zero, zero)
    s = 0
    while s < n_lights:
        to, g = load_triple(to_light, m * light_step * n_lights + s, here), load_triple(grad, m * n_lights + s, here)
        share, is_lit = share_of(n, to)
        worth = tl.where(is_lit, dot(g, color) * ONE_OVER_PI, 0)
        g_color = plus(g_color, share, g)
        g_n = plus(g_n, worth, to)
        g_light = worth * n[0], worth * n[1], worth * n[2]
        give_vector(grad_light, m * n_lights + s, s, here, g_light, LIGHT)
        s += 1
    give_vector(grad_normal, m, 0, here, g_n, NORMAL)
    give_vector(grad_color, m, 0, here, g_color, COLOR)


@triton.jit(do_not_specialize=["n_points", "n_lights", "light_step", "color_step", "n_tangents"])
def tangents_of(
    d_normal, d_light, d_color, normal, to_light, base_color, out, n_points, n_lights, light_step, color_step,
    n_tangents, OF_NORMAL: tl.constexpr, OF_LIGHT: tl.constexpr, OF_COLOR: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write all tangents [K, M, S, 3]."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n_points
    n, color = load_triple(normal, m, here), load_triple(base_color, m * color_step, here)
    s = 0
    while s < n_lights:
        to = load_triple(to_light, m * light_step * n_lights + s, here)
        share, is_lit = share_of(n, to)
        k = 0
        while k < n_tangents:
            row = tangent_row(k, n_points, m, 1)
            d_n = load_triple(d_normal, row, here & OF_NORMAL)
            d_to = load_triple(d_light, tangent_row(k, n_points, m, light_step) * n_lights + s, here & OF_LIGHT)
            d_c = load_triple(d_color, tangent_row(k, n_points, m, color_step), here & OF_COLOR)
            d_share = tl.where(is_lit, (dot(d_n, to) + dot(n, d_to)) * ONE_OVER_PI, 0)
            value = plus((share * d_c[0], share * d_c[1], share * d_c[2]), d_share, color)
            store_triple(out, row * n_lights + s, value, here)
            k += 1
        s += 1


def forward(normal: Tensor, to_light: Tensor, base_color: Tensor) -> Tensor:
    """See op.lambert."""
    normal, to_light, base_color = (part.contiguous() for part in (normal, to_light, base_color))
    n_points, n_lights = len(normal), to_light.shape[1]
    out = normal.new_empty((n_points, n_lights, 3))
    sizes = (n_points, n_lights, step_of(to_light), step_of(base_color))
    launch(evaluate, triton.cdiv(n_points, BLOCK), normal, to_light, base_color, out, *sizes, BLOCK=BLOCK)
    return out


def backward(
    grad_out: Tensor, normal: Tensor, to_light: Tensor, base_color: Tensor, wants: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """See run_differentiable."""
    inputs = [part.contiguous() for part in (normal, to_light, base_color)]
    grads, ways = rooms_for(inputs, wants)
    sizes = (len(normal), to_light.shape[1], step_of(to_light), step_of(base_color))
    constants = dict(zip(("NORMAL", "LIGHT", "COLOR"), ways, strict=True), BLOCK=BLOCK)
    launch(gradients, triton.cdiv(len(normal), BLOCK), grad_out.contiguous(), *inputs, *grads, *sizes, **constants)
    return tuple(grad if wanted else None for grad, wanted in zip(grads, wants, strict=True))


def jvp(tangents: Sequence[Tensor | None], normal: Tensor, to_light: Tensor, base_color: Tensor) -> Tensor:
    """See run_differentiable."""
    inputs = [part.contiguous() for part in (normal, to_light, base_color)]
    moved, given = tangents_or(inputs, tangents)
    n_points, n_lights = len(normal), to_light.shape[1]
    out = normal.new_empty((count_tangents(tangents), n_points, n_lights, 3))
    sizes = (n_points, n_lights, step_of(to_light), step_of(base_color), len(out))
    constants = dict(zip(("OF_NORMAL", "OF_LIGHT", "OF_COLOR"), given, strict=True), BLOCK=BLOCK)
    launch(tangents_of, triton.cdiv(n_points, BLOCK), *moved, *inputs, out, *sizes, **constants)
    return out
