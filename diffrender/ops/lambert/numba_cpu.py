"""A diffuse surface and its gradients on the CPU. Arithmetic in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence

from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.ops.as_numpy import as_numpy
from diffrender.ops.tangents import tangents_or_zeros
from diffrender.ops.vec3 import dot, plus, put, tangent_at, vector
from diffrender.threads import parallel_for

# Minimum number of points per thread.
GRAIN = 16384
ONE_OVER_PI = 1 / math.pi


@njit(nogil=True, cache=True)
def evaluate(start, end, normal, to_light, base_color, out):
    """Write BSDF times cosine [M, S, 3] at the points start..end-1."""
    for m in range(start, end):
        n, color = vector(normal, m, 0), vector(base_color, m, 0)
        for s in range(to_light.shape[1]):
            cosine = dot(n, vector(to_light, m, s))
            share = 0.0 if cosine < 0.0 else cosine * ONE_OVER_PI
            out[m, s, 0], out[m, s, 1], out[m, s, 2] = color[0] * share, color[1] * share, color[2] * share


@njit(nogil=True, cache=True)
def gradients(start, end, grad, normal, to_light, base_color, grad_normal, grad_light, grad_color):
    """Write gradients of the points start..end-1 with respect to each input, those of the lights [M, S, 3]."""
    for m in range(start, end):
        n, color = vector(normal, m, 0), vector(base_color, m, 0)
        g_n, g_color = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
        for s in range(to_light.shape[1]):
            to, g = vector(to_light, m, s), vector(grad, m, s)
            cosine = dot(n, to)
            worth = 0.0 if cosine < 0.0 else dot(g, color) * ONE_OVER_PI
            g_color = plus(g_color, 0.0 if cosine < 0.0 else cosine * ONE_OVER_PI, g)
            g_n = plus(g_n, worth, to)
            if len(grad_light) > 0:
                grad_light[m, s, 0], grad_light[m, s, 1], grad_light[m, s, 2] = worth * n[0], worth * n[1], worth * n[2]
        put(grad_normal, m, g_n)
        put(grad_color, m, g_color)


def forward(normal: Tensor, to_light: Tensor, base_color: Tensor) -> Tensor:
    """See op.lambert."""
    out = memory.empty((len(normal), to_light.shape[1], 3), normal.dtype)
    parallel_for(evaluate, len(normal), GRAIN, *as_numpy(normal[:, None], to_light, base_color[:, None], out))
    return out


def backward(
    grad_out: Tensor, normal: Tensor, to_light: Tensor, base_color: Tensor, wants: Sequence[bool]
) -> tuple[Tensor | None, ...]:
    """See run_differentiable."""
    inputs = (normal, to_light, base_color)
    n_points = len(normal)
    grads = [
        memory.empty((n_points if wanted else 0, *part.shape[1:]), part.dtype)
        for part, wanted in zip(inputs, wants, strict=True)
    ]
    vectors = as_numpy(grad_out, normal[:, None], to_light, base_color[:, None])
    parallel_for(gradients, n_points, GRAIN, *vectors, *(grad.numpy() for grad in grads))
    # One row that serves all points has the sum of their gradients.
    return tuple(
        (grad.sum(0, keepdim=True) if len(part) == 1 else grad) if wanted else None
        for grad, part, wanted in zip(grads, inputs, wants, strict=True)
    )


@njit(nogil=True, cache=True)
def tangents_of(start, end, d_normal, d_light, d_color, normal, to_light, base_color, out):
    """Write the tangents [K, M, S, 3] of the points start..end-1, from those of each input."""
    for m in range(start, end):
        n, color = vector(normal, m, 0), vector(base_color, m, 0)
        for s in range(to_light.shape[1]):
            to = vector(to_light, m, s)
            cosine = dot(n, to)
            lit = 0.0 if cosine < 0.0 else ONE_OVER_PI
            for k in range(len(out)):
                d_cosine = dot(tangent_at(d_normal, k, m, 0), to) + dot(n, tangent_at(d_light, k, m, s))
                d_c = tangent_at(d_color, k, m, 0)
                for c in range(3):
                    out[k, m, s, c] = lit * (cosine * d_c[c] + d_cosine * color[c])


def jvp(tangents: Sequence[Tensor | None], normal: Tensor, to_light: Tensor, base_color: Tensor) -> Tensor:
    """See run_differentiable."""
    d_normal, d_light, d_color = tangents_or_zeros(tangents, (normal, to_light, base_color))
    out = memory.empty((len(d_normal), len(normal), to_light.shape[1], 3), normal.dtype)
    vectors = as_numpy(
        d_normal[:, :, None], d_light, d_color[:, :, None], normal[:, None], to_light, base_color[:, None]
    )
    parallel_for(tangents_of, len(normal), GRAIN, *vectors, out.numpy())
    return out
