"""Lobes of glTF's metallic-roughness material on the CPU, and gradients. In float64; names as in NOTES.md."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.ops.as_numpy import as_numpy
from diffrender.ops.ggx.formulas import DIELECTRIC_F0, LEAST_COSINE, LEAST_ROUGHNESS
from diffrender.ops.ggx.numba_cpu import clamp, entry, place_of, straight_on
from diffrender.ops.ggx_lobes.op import count_lobes
from diffrender.ops.tangents import tangents_or_zeros
from diffrender.ops.vec3 import dot, number, plus, put, tangent_at, vector
from diffrender.threads import parallel_for

# Minimum number of points per thread.
GRAIN = 4096


@njit(nogil=True, cache=True, forceinline=True)
def axis_of(w, nv):
    """Return the factors of n and -v in a lobe's axis, the inverse length that is in them, and whether it is held."""
    squared = (1.0 - w) * (1.0 - w) + w * w + 2.0 * w * (1.0 - w) * nv
    inverse = 1.0 / math.sqrt(clamp(squared, LEAST_COSINE, np.inf))
    return (1.0 - w + 2.0 * w * nv) * inverse, w * inverse, inverse, squared < LEAST_COSINE


@njit(nogil=True, cache=True)
def evaluate(start, end, normal, to_camera, base_color, metallic, roughness, table, diffuse, direction, width, weight):
    """Write the lobes of the points start..end-1."""
    n_lobes = direction.shape[1]
    for m in range(start, end):
        n, v, color = vector(normal, m, 0), vector(to_camera, m, 0), vector(base_color, m, 0)
        metal = number(metallic, m)
        nv = dot(n, v)
        place = place_of(table, clamp(number(roughness, m), LEAST_ROUGHNESS, 1.0), nv)
        scale, bias = entry(table, place, 0)[0], entry(table, place, 1)[0]
        f0 = straight_on(metal, color)
        base = (1.0 - metal) * (1.0 - (DIELECTRIC_F0 * scale + bias))
        put(diffuse, m, (color[0] * base, color[1] * base, color[2] * base))
        for s in range(n_lobes):
            of_n, of_v, _, _ = axis_of(entry(table, place, 2 + s)[0], nv)
            width[m, s] = entry(table, place, 2 + n_lobes + s)[0]
            straight = scale * entry(table, place, 2 + 2 * n_lobes + s)[0]
            grazing = bias * entry(table, place, 2 + 3 * n_lobes + s)[0]
            for c in range(3):
                direction[m, s, c] = of_n * n[c] - of_v * v[c]
                weight[m, s, c] = f0[c] * straight + grazing


@njit(nogil=True, cache=True)
def gradients(
    start, end, of_diffuse, of_direction, of_width, of_weight,
    normal, to_camera, base_color, metallic, roughness, table,
    grad_normal, grad_camera, grad_color, grad_metallic, grad_roughness,
):  # fmt: skip
    """Write gradients of the points start..end-1 with respect to each input."""
    rows, n_lobes = table.shape[0] - 1, of_direction.shape[1]
    for m in range(start, end):
        n, v, color = vector(normal, m, 0), vector(to_camera, m, 0), vector(base_color, m, 0)
        metal, rough = number(metallic, m), number(roughness, m)
        nv = dot(n, v)
        place = place_of(table, clamp(rough, LEAST_ROUGHNESS, 1.0), nv)
        scale, scale_by_row, scale_by_column = entry(table, place, 0)
        bias, bias_by_row, bias_by_column = entry(table, place, 1)
        f0, left_over = straight_on(metal, color), 1.0 - (DIELECTRIC_F0 * scale + bias)
        g_d = vector(of_diffuse, m, 0)
        g_base = dot(g_d, color)
        g_left_over = g_base * (1.0 - metal)
        g_scale, g_bias = -DIELECTRIC_F0 * g_left_over, -g_left_over
        g_n, g_v, g_f0, g_nv, g_row, g_column = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0.0, 0.0, 0.0
        for s in range(n_lobes):
            w, w_by_row, w_by_column = entry(table, place, 2 + s)
            _, width_by_row, width_by_column = entry(table, place, 2 + n_lobes + s)
            of_scale, of_scale_by_row, of_scale_by_column = entry(table, place, 2 + 2 * n_lobes + s)
            of_bias, of_bias_by_row, of_bias_by_column = entry(table, place, 2 + 3 * n_lobes + s)
            # The weight.
            g = vector(of_weight, m, s)
            g_by_f0, g_total = dot(g, f0), g[0] + g[1] + g[2]
            g_f0 = plus(g_f0, scale * of_scale, g)
            g_scale += g_by_f0 * of_scale
            g_bias += g_total * of_bias
            # The direction.
            of_n, of_v, inverse, is_held = axis_of(w, nv)
            g = vector(of_direction, m, s)
            g_n, g_v = plus(g_n, of_n, g), plus(g_v, -of_v, g)
            g_of_n, g_of_v = dot(g, n), -dot(g, v)
            g_w = inverse * (g_of_n * (2.0 * nv - 1.0) + g_of_v)
            g_nv += inverse * g_of_n * 2.0 * w
            g_squared = 0.0 if is_held else -0.5 * inverse * inverse * (g_of_n * of_n + g_of_v * of_v)
            g_w += g_squared * (4.0 * w - 2.0) * (1.0 - nv)
            g_nv += g_squared * 2.0 * w * (1.0 - w)
            # What was looked up.
            g_width = of_width[m, s]
            g_of_scale, g_of_bias = g_by_f0 * scale, g_total * bias
            g_row += g_w * w_by_row + g_width * width_by_row + g_of_scale * of_scale_by_row + g_of_bias * of_bias_by_row
            g_column += g_w * w_by_column + g_width * width_by_column
            g_column += g_of_scale * of_scale_by_column + g_of_bias * of_bias_by_column
        g_row += g_scale * scale_by_row + g_bias * bias_by_row
        g_column += g_scale * scale_by_column + g_bias * bias_by_column
        g_nv += g_column * place[4]
        put(grad_normal, m, plus(g_n, g_nv, v))
        put(grad_camera, m, plus(g_v, g_nv, n))
        base = (1.0 - metal) * left_over
        put(grad_color, m, plus((base * g_d[0], base * g_d[1], base * g_d[2]), metal, g_f0))
        if len(grad_metallic) > 0:
            grad_metallic[m, 0] = dot(g_f0, color) - DIELECTRIC_F0 * (g_f0[0] + g_f0[1] + g_f0[2]) - g_base * left_over
        if len(grad_roughness) > 0:
            grad_roughness[m, 0] = g_row * rows if LEAST_ROUGHNESS <= rough <= 1.0 else 0.0


@njit(nogil=True, cache=True)
def tangents_of(
    start, end, d_normal, d_camera, d_color, d_metallic, d_roughness,
    normal, to_camera, base_color, metallic, roughness, table, diffuse, direction, width, weight,
):  # fmt: skip
    """Write the tangents [K, ...] of the lobes of the points start..end-1, from those of each input."""
    rows, n_lobes = table.shape[0] - 1, direction.shape[2]
    for m in range(start, end):
        n, v, color = vector(normal, m, 0), vector(to_camera, m, 0), vector(base_color, m, 0)
        metal, rough = number(metallic, m), number(roughness, m)
        is_within = LEAST_ROUGHNESS <= rough <= 1.0
        nv = dot(n, v)
        place = place_of(table, clamp(rough, LEAST_ROUGHNESS, 1.0), nv)
        scale, scale_by_row, scale_by_column = entry(table, place, 0)
        bias, bias_by_row, bias_by_column = entry(table, place, 1)
        f0, left_over = straight_on(metal, color), 1.0 - (DIELECTRIC_F0 * scale + bias)
        base = (1.0 - metal) * left_over
        for s in range(n_lobes):
            w, w_by_row, w_by_column = entry(table, place, 2 + s)
            _, width_by_row, width_by_column = entry(table, place, 2 + n_lobes + s)
            of_scale, of_scale_by_row, of_scale_by_column = entry(table, place, 2 + 2 * n_lobes + s)
            of_bias, of_bias_by_row, of_bias_by_column = entry(table, place, 2 + 3 * n_lobes + s)
            of_n, of_v, inverse, is_held = axis_of(w, nv)
            straight = scale * of_scale
            for k in range(len(diffuse)):
                d_n, d_v = tangent_at(d_normal, k, m, 0), tangent_at(d_camera, k, m, 0)
                d_c = tangent_at(d_color, k, m, 0)
                d_metal = np.float64(d_metallic[k, m if d_metallic.shape[1] > 1 else 0, 0])
                d_rough = np.float64(d_roughness[k, m if d_roughness.shape[1] > 1 else 0, 0]) if is_within else 0.0
                d_nv = dot(d_n, v) + dot(n, d_v)
                d_row, d_column = d_rough * rows, d_nv * place[4]
                d_scale = scale_by_row * d_row + scale_by_column * d_column
                d_bias = bias_by_row * d_row + bias_by_column * d_column
                if s == 0:
                    d_base = -d_metal * left_over - (1.0 - metal) * (DIELECTRIC_F0 * d_scale + d_bias)
                    for c in range(3):
                        diffuse[k, m, c] = d_c[c] * base + color[c] * d_base
                width[k, m, s] = width_by_row * d_row + width_by_column * d_column
                d_w = w_by_row * d_row + w_by_column * d_column
                d_squared = (4.0 * w - 2.0) * (1.0 - nv) * d_w + 2.0 * w * (1.0 - w) * d_nv
                shrunk = 0.0 if is_held else -0.5 * inverse * inverse * d_squared
                d_of_n = inverse * ((2.0 * nv - 1.0) * d_w + 2.0 * w * d_nv) + of_n * shrunk
                d_of_v = inverse * d_w + of_v * shrunk
                d_straight = d_scale * of_scale + scale * (of_scale_by_row * d_row + of_scale_by_column * d_column)
                d_grazing = d_bias * of_bias + bias * (of_bias_by_row * d_row + of_bias_by_column * d_column)
                for c in range(3):
                    direction[k, m, s, c] = d_of_n * n[c] + of_n * d_n[c] - d_of_v * v[c] - of_v * d_v[c]
                    d_f0 = d_metal * (color[c] - DIELECTRIC_F0) + metal * d_c[c]
                    weight[k, m, s, c] = d_f0 * straight + f0[c] * d_straight + d_grazing


def forward(
    normal: Tensor, to_camera: Tensor, base_color: Tensor, metallic: Tensor, roughness: Tensor, table: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See op.ggx_lobes."""
    inputs = _inputs(normal, to_camera, base_color, metallic, roughness, table)
    outputs = _room_for((len(normal),), count_lobes(table), normal)
    parallel_for(evaluate, len(normal), GRAIN, *inputs, *(part.numpy() for part in outputs))
    return outputs


def backward(
    of_diffuse: Tensor,
    of_direction: Tensor,
    of_width: Tensor,
    of_weight: Tensor,
    normal: Tensor,
    to_camera: Tensor,
    base_color: Tensor,
    metallic: Tensor,
    roughness: Tensor,
    table: Tensor,
    wants: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """See run_differentiable."""
    inputs = (normal, to_camera, base_color, metallic, roughness)
    n_points = len(normal)
    grads = [
        memory.empty((n_points if wanted else 0, *part.shape[1:]), part.dtype)
        for part, wanted in zip(inputs, wants[:-1], strict=True)
    ]
    given = as_numpy(of_diffuse[:, None], of_direction, of_width, of_weight)
    parallel_for(gradients, n_points, GRAIN, *given, *_inputs(*inputs, table), *(grad.numpy() for grad in grads))
    # One row that serves all points has the sum of their gradients.
    sums = (
        (grad.sum(0, keepdim=True) if len(part) == 1 else grad) if wanted else None
        for grad, part, wanted in zip(grads, inputs, wants[:-1], strict=True)
    )
    return *sums, None


def jvp(
    tangents: Sequence[Tensor | None],
    normal: Tensor,
    to_camera: Tensor,
    base_color: Tensor,
    metallic: Tensor,
    roughness: Tensor,
    table: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See run_differentiable."""
    inputs = (normal, to_camera, base_color, metallic, roughness)
    d_normal, d_camera, d_color, *d_numbers = tangents_or_zeros(tangents[:-1], inputs)
    d_vectors = (d_normal[:, :, None], d_camera[:, :, None], d_color[:, :, None])
    outputs = _room_for((len(d_normal), len(normal)), count_lobes(table), normal)
    arguments = (*as_numpy(*d_vectors, *d_numbers), *_inputs(*inputs, table), *(part.numpy() for part in outputs))
    parallel_for(tangents_of, len(normal), GRAIN, *arguments)
    return outputs


def _inputs(
    normal: Tensor, to_camera: Tensor, base_color: Tensor, metallic: Tensor, roughness: Tensor, table: Tensor
) -> tuple[np.ndarray, ...]:
    """Return the inputs as the kernels take them: all vectors [rows, 1, 3], numbers [rows, 1]."""
    return as_numpy(normal[:, None], to_camera[:, None], base_color[:, None], metallic, roughness, table)


def _room_for(points: tuple[int, ...], n_lobes: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return memory for the results at points [..., M]."""
    shapes = ((3,), (n_lobes, 3), (n_lobes,), (n_lobes, 3))
    diffuse, direction, width, weight = (memory.empty((*points, *shape), like.dtype) for shape in shapes)
    return diffuse, direction, width, weight
