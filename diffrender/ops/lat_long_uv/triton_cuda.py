"""Places of directions in a lat-long map on CUDA. Arithmetic in the dtype of the directions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import triton
import triton.language as tl
from torch import Tensor

from diffrender.ops.lat_long_uv import op
from diffrender.ops.triton_launch import launch
from diffrender.ops.triton_vec3 import load_triple, store_triple

BLOCK = 256
NEAREST_POLE = tl.constexpr(op.NEAREST_POLE)
PI = tl.constexpr(math.pi)


@triton.jit
def arc_tangent(y, x):
    """Return the angle of the point (x, y), in -pi..pi; 0 of the origin.

    Two halvings of the angle leave a tangent below 0.2, of which nine terms of the series are exact in float64.
    """
    wide, tall = tl.abs(x), tl.abs(y)
    # Comparisons with NaN are false: one must reach the quotient.
    larger, smaller = tl.where(tall > wide, tall, wide), tl.where(tall > wide, wide, tall)
    t = smaller / tl.where(larger == 0, 1, larger)
    t = t / (1 + tl.sqrt(1 + t * t))
    t = t / (1 + tl.sqrt(1 + t * t))
    s = -t * t
    series = 1 + s * (
        1 / 3 + s * (1 / 5 + s * (1 / 7 + s * (1 / 9 + s * (1 / 11 + s * (1 / 13 + s * (1 / 15 + s / 17))))))
    )
    angle = 4 * t * series
    angle = tl.where(tall > wide, PI / 2 - angle, angle)
    angle = tl.where(x < 0, PI - angle, angle)
    return tl.where(y < 0, -angle, angle)


@triton.jit
def load(directions, m, here):
    """Return directions and their squared distances from the axis through the poles, 0 at a pole."""
    x, y, z = load_triple(directions, m, here)
    squared = x * x + z * z
    return x, y, z, tl.where(squared < NEAREST_POLE * NEAREST_POLE, 0, squared)


@triton.jit(do_not_specialize=["n"])
def evaluate(directions, out, n, PADDING: tl.constexpr, BLOCK: tl.constexpr):
    """Write uv, one lane each."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n
    x, y, z, squared = load(directions, m, here)
    longitude = arc_tangent(tl.where(squared == 0, 0, z), tl.where(squared == 0, 1, x))
    polar = arc_tangent(tl.sqrt(squared), y)
    tl.store(out + 2 * m, longitude * (0.5 / PI) + 0.5, here)
    tl.store(out + 2 * m + 1, (polar * (1 / PI) + PADDING) * (1 / (1 + 2 * PADDING)), here)


@triton.jit
def derivatives(directions, m, here, PADDING: tl.constexpr):
    """Return those of u by x and z, and those of v by x, y and z; zeros at a pole."""
    x, y, z, squared = load(directions, m, here)
    is_pole = squared == 0
    across = tl.sqrt(tl.where(is_pole, 1, squared))
    of_u = tl.where(is_pole, 0, 0.5 / PI / tl.where(is_pole, 1, squared))
    of_v = tl.where(is_pole, 0, 1 / PI / (1 + 2 * PADDING) / tl.where(is_pole, 1, squared + y * y))
    return -z * of_u, x * of_u, x * y / across * of_v, -across * of_v, z * y / across * of_v


@triton.jit(do_not_specialize=["n"])
def gradients(grad, directions, out, n, PADDING: tl.constexpr, BLOCK: tl.constexpr):
    """Write gradients of the directions, one lane each."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n
    u_by_x, u_by_z, v_by_x, v_by_y, v_by_z = derivatives(directions, m, here, PADDING)
    g_u, g_v = tl.load(grad + 2 * m, here, other=0), tl.load(grad + 2 * m + 1, here, other=0)
    store_triple(out, m, (g_u * u_by_x + g_v * v_by_x, g_v * v_by_y, g_u * u_by_z + g_v * v_by_z), here)


@triton.jit(do_not_specialize=["n", "count"])
def tangents_of(moved, directions, out, n, count, PADDING: tl.constexpr, BLOCK: tl.constexpr):
    """Write tangents [count, M, 2] from those of the directions, one lane per direction."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n
    u_by_x, u_by_z, v_by_x, v_by_y, v_by_z = derivatives(directions, m, here, PADDING)
    left = count
    while left > 0:
        dx, dy, dz = load_triple(moved, m, here)
        tl.store(out + 2 * m, u_by_x * dx + u_by_z * dz, here)
        tl.store(out + 2 * m + 1, v_by_x * dx + v_by_y * dy + v_by_z * dz, here)
        m += n
        left -= 1


def forward(directions: Tensor, padding: float) -> Tensor:
    """See op.lat_long_uv."""
    n = len(directions)
    out = directions.new_empty((n, 2))
    launch(evaluate, triton.cdiv(n, BLOCK), directions.contiguous(), out, n, PADDING=padding, BLOCK=BLOCK)
    return out


def backward(grad_out: Tensor, directions: Tensor, padding: float, wants: Sequence[bool]) -> tuple[Tensor, None]:
    """See run_differentiable."""
    n = len(directions)
    out = directions.new_empty(directions.shape)
    given = (grad_out.contiguous(), directions.contiguous())
    launch(gradients, triton.cdiv(n, BLOCK), *given, out, n, PADDING=padding, BLOCK=BLOCK)
    return out, None


def jvp(tangents: Sequence[Tensor], directions: Tensor, padding: float) -> Tensor:
    """See run_differentiable."""
    moved, n = tangents[0].contiguous(), len(directions)
    out = directions.new_empty((len(moved), n, 2))
    sizes = (n, len(moved))
    launch(
        tangents_of, triton.cdiv(n, BLOCK), moved, directions.contiguous(), out, *sizes, PADDING=padding, BLOCK=BLOCK
    )
    return out
