"""glTF's metallic-roughness material and its gradients on the CPU. Arithmetic in float64; names as in NOTES.md."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numba import njit
from torch import Tensor

from diffrender import memory
from diffrender.ops.as_numpy import as_numpy
from diffrender.ops.ggx.formulas import DIELECTRIC_F0, LEAST_COSINE, LEAST_ROUGHNESS
from diffrender.ops.tangents import tangents_or_zeros
from diffrender.ops.vec3 import cross, dot, number, plus, put, tangent_at, vector
from diffrender.threads import parallel_for

# Minimum number of points per thread.
GRAIN = 4096
# What torch's normalize divides by where a vector has no length.
LEAST_LENGTH = 1e-12


@njit(nogil=True, cache=True, forceinline=True)
def clamp(value, low, high):
    """Return `value` within low..high; a NaN stays one."""
    return low if value < low else (high if value > high else value)


@njit(nogil=True, cache=True, forceinline=True)
def half_of(to, v):
    """Return the half vector of two unit vectors, and the length of their sum."""
    h = plus(to, 1.0, v)
    length = max(math.sqrt(dot(h, h)), LEAST_LENGTH)
    return (h[0] / length, h[1] / length, h[2] / length), length


@njit(nogil=True, cache=True, forceinline=True)
def cell(position, size):
    """Return the cell of a table that a position is in; of a NaN the first."""
    return min(int(position), size - 2) if position > 0.0 else 0


@njit(nogil=True, cache=True, forceinline=True)
def place_of(table, roughness, cosine):
    """Return the cell of a table, the fractions of its next row and column, and d column / d cosine, 0 where held."""
    rows, columns = table.shape[0] - 1, table.shape[1] - 1
    root = math.sqrt(clamp(cosine, LEAST_COSINE, 1.0))
    x, y = root * columns, roughness * rows
    left, top = cell(x, columns + 1), cell(y, rows + 1)
    by_cosine = columns / (2.0 * root) if LEAST_COSINE <= cosine <= 1.0 else 0.0
    return top, left, y - top, x - left, by_cosine


@njit(nogil=True, cache=True, forceinline=True)
def entry(table, place, k):
    """Return entry k of the table, and its derivatives by row and column."""
    top, left, fy, fx, _ = place
    a, b = np.float64(table[top, left, k]), np.float64(table[top, left + 1, k])
    c, d = np.float64(table[top + 1, left, k]), np.float64(table[top + 1, left + 1, k])
    upper, lower = a + fx * (b - a), c + fx * (d - c)
    return upper + fy * (lower - upper), lower - upper, b - a + fy * (d - c - b + a)


@njit(nogil=True, cache=True, forceinline=True)
def share_of(table, roughness, cosine):
    """Return T, and its derivatives by roughness and cosine."""
    place = place_of(table, roughness, cosine)
    share, by_row, by_column = entry(table, place, 0)
    return share, by_row * (table.shape[0] - 1), by_column * place[4]


@njit(nogil=True, cache=True, forceinline=True)
def straight_on(metal, color):
    """Return f0, the reflectance seen straight on."""
    return (
        DIELECTRIC_F0 + metal * (color[0] - DIELECTRIC_F0),
        DIELECTRIC_F0 + metal * (color[1] - DIELECTRIC_F0),
        DIELECTRIC_F0 + metal * (color[2] - DIELECTRIC_F0),
    )


@njit(nogil=True, cache=True)
def evaluate(start, end, normal, to_camera, to_light, base_color, metallic, roughness, table, out):
    """Write BSDF times cosine [M, S, 3] at the points start..end-1."""
    for m in range(start, end):
        n, v, color = vector(normal, m, 0), vector(to_camera, m, 0), vector(base_color, m, 0)
        metal = number(metallic, m)
        rough = clamp(number(roughness, m), LEAST_ROUGHNESS, 1.0)
        a2 = rough * rough * rough * rough
        nv = clamp(dot(n, v), LEAST_COSINE, np.inf)
        camera = math.sqrt(a2 + (1.0 - a2) * nv * nv)
        diffuse = (1.0 - metal) * share_of(table, rough, nv)[0] / math.pi
        for s in range(to_light.shape[1]):
            to = vector(to_light, m, s)
            nl = dot(n, to)
            if nl <= 0.0:
                out[m, s, 0], out[m, s, 1], out[m, s, 2] = 0.0, 0.0, 0.0
                continue
            h, _ = half_of(to, v)
            x = cross(n, h)
            s2 = dot(x, x)
            q = s2 + a2 * (1.0 - s2)
            light = math.sqrt(a2 + (1.0 - a2) * nl * nl)
            specular = nl * a2 / (math.pi * q * q) * 0.5 / (nv * light + nl * camera)
            e = clamp(1.0 - dot(v, h), 0.0, 1.0)
            grazing = e * e * e * e * e
            left_over = nl * diffuse * share_of(table, rough, nl)[0]
            for c in range(3):
                f0 = DIELECTRIC_F0 + metal * (color[c] - DIELECTRIC_F0)
                out[m, s, c] = (f0 + (1.0 - f0) * grazing) * specular + color[c] * left_over


@njit(nogil=True, cache=True)
def gradients(
    start, end, grad, normal, to_camera, to_light, base_color, metallic, roughness, table,
    grad_normal, grad_camera, grad_light, grad_color, grad_metallic, grad_roughness,
):  # fmt: skip
    """Write gradients of the points start..end-1 with respect to each input, those of the lights [M, S, 3]."""
    for m in range(start, end):
        n, v, color = vector(normal, m, 0), vector(to_camera, m, 0), vector(base_color, m, 0)
        metal = number(metallic, m)
        rough = clamp(number(roughness, m), LEAST_ROUGHNESS, 1.0)
        a2 = rough * rough * rough * rough
        raw_nv = dot(n, v)
        nv = clamp(raw_nv, LEAST_COSINE, np.inf)
        camera = math.sqrt(a2 + (1.0 - a2) * nv * nv)
        tv, tv_by_rough, tv_by_nv = share_of(table, rough, nv)
        g_n, g_v, g_color = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
        g_metal, g_rough, g_a2, g_nv = 0.0, 0.0, 0.0, 0.0
        for s in range(to_light.shape[1]):
            to = vector(to_light, m, s)
            nl = dot(n, to)
            if nl < 0.0:
                if len(grad_light) > 0:
                    grad_light[m, s, 0], grad_light[m, s, 1], grad_light[m, s, 2] = 0.0, 0.0, 0.0
                continue
            h, length = half_of(to, v)
            x = cross(n, h)
            s2 = dot(x, x)
            q = s2 + a2 * (1.0 - s2)
            light = math.sqrt(a2 + (1.0 - a2) * nl * nl)
            facets, seen = a2 / (math.pi * q * q), 0.5 / (nv * light + nl * camera)
            raw_e = 1.0 - dot(v, h)
            e = clamp(raw_e, 0.0, 1.0)
            e4 = e * e * e * e
            grazing = e4 * e
            tl, tl_by_rough, tl_by_nl = share_of(table, rough, nl)
            # The incoming gradient, times the colours that it meets.
            g = vector(grad, m, s)
            diffuse = (1.0 - metal) / math.pi
            f0 = straight_on(metal, color)
            g_total, g_f0, g_base = g[0] + g[1] + g[2], dot(g, f0), dot(g, color)
            g_fresnel = g_f0 + (g_total - g_f0) * grazing
            specular = facets * seen
            by_f0, by_color = nl * specular * (1.0 - grazing), nl * diffuse * tl * tv
            g_color = plus(g_color, by_f0 * metal + by_color, g)
            g_metal += by_f0 * (g_base - DIELECTRIC_F0 * g_total) - nl * tl * tv / math.pi * g_base
            # The specular term: D and V; the share of the base: T(n.l) and T(n.v).
            g_nl = g_fresnel * specular + g_base * diffuse * tl * tv
            g_facets, g_seen = g_fresnel * nl * seen, g_fresnel * nl * facets
            g_q = -2.0 * g_facets * facets / q
            g_s2 = g_q * (1.0 - a2)
            g_sum = -2.0 * g_seen * seen * seen
            g_light, g_camera = 0.5 * g_sum * nv / light, 0.5 * g_sum * nl / camera
            g_a2 += g_facets * facets / a2 + g_q * (1.0 - s2)
            g_a2 += g_light * (1.0 - nl * nl) + g_camera * (1.0 - nv * nv)
            g_nl += g_sum * camera + 2.0 * g_light * (1.0 - a2) * nl + g_base * nl * diffuse * tv * tl_by_nl
            g_nv += g_sum * light + 2.0 * g_camera * (1.0 - a2) * nv + g_base * nl * diffuse * tl * tv_by_nv
            g_rough += g_base * nl * diffuse * (tv * tl_by_rough + tl * tv_by_rough)
            # Directions: the half vector is in n x h and v.h, and is made of l and v.
            g_x = 2.0 * g_s2 * x[0], 2.0 * g_s2 * x[1], 2.0 * g_s2 * x[2]
            g_vh = -5.0 * e4 * nl * specular * (g_total - g_f0) if 0.0 <= raw_e <= 1.0 else 0.0
            g_h = plus(cross(g_x, n), g_vh, v)
            g_a = plus(g_h, -dot(g_h, h), h)
            g_n = plus(plus(g_n, 1.0, cross(h, g_x)), g_nl, to)
            g_v = plus(plus(g_v, g_vh, h), 1.0 / length, g_a)
            if len(grad_light) > 0:
                g_l = plus((g_nl * n[0], g_nl * n[1], g_nl * n[2]), 1.0 / length, g_a)
                grad_light[m, s, 0], grad_light[m, s, 1], grad_light[m, s, 2] = g_l
        if raw_nv >= LEAST_COSINE:
            g_n, g_v = plus(g_n, g_nv, v), plus(g_v, g_nv, n)
        put(grad_normal, m, g_n)
        put(grad_camera, m, g_v)
        put(grad_color, m, g_color)
        if len(grad_metallic) > 0:
            grad_metallic[m, 0] = g_metal
        if len(grad_roughness) > 0:
            is_within = LEAST_ROUGHNESS <= number(roughness, m) <= 1.0
            grad_roughness[m, 0] = g_rough + 4.0 * rough * rough * rough * g_a2 if is_within else 0.0


def forward(
    normal: Tensor,
    to_camera: Tensor,
    to_light: Tensor,
    base_color: Tensor,
    metallic: Tensor,
    roughness: Tensor,
    diffuse_table: Tensor,
) -> Tensor:
    """See op.ggx."""
    inputs = _inputs(normal, to_camera, to_light, base_color, metallic, roughness, diffuse_table)
    out = memory.empty((len(normal), to_light.shape[1], 3), normal.dtype)
    parallel_for(evaluate, len(normal), GRAIN, *inputs, out.numpy())
    return out


def backward(
    grad_out: Tensor,
    normal: Tensor,
    to_camera: Tensor,
    to_light: Tensor,
    base_color: Tensor,
    metallic: Tensor,
    roughness: Tensor,
    diffuse_table: Tensor,
    wants: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """See run_differentiable."""
    inputs = (normal, to_camera, to_light, base_color, metallic, roughness)
    n_points = len(normal)
    grads = [
        memory.empty((n_points if wanted else 0, *part.shape[1:]), part.dtype)
        for part, wanted in zip(inputs, wants[:-1], strict=True)
    ]
    outputs = [grad.numpy() for grad in grads]
    parallel_for(gradients, n_points, GRAIN, *as_numpy(grad_out), *_inputs(*inputs, diffuse_table), *outputs)
    # One row that serves all points has the sum of their gradients.
    sums = (
        (grad.sum(0, keepdim=True) if len(part) == 1 else grad) if wanted else None
        for grad, part, wanted in zip(grads, inputs, wants[:-1], strict=True)
    )
    return *sums, None


def _inputs(
    normal: Tensor, to_camera: Tensor, to_light: Tensor, base_color: Tensor, metallic: Tensor, roughness: Tensor,
    diffuse_table: Tensor,
) -> tuple[np.ndarray, ...]:  # fmt: skip
    """Return the inputs as the kernels take them: all vectors [rows, S, 3], numbers [rows, 1]."""
    vectors = (normal[:, None], to_camera[:, None], to_light, base_color[:, None])
    return as_numpy(*vectors, metallic, roughness, diffuse_table)


@njit(nogil=True, cache=True, forceinline=True)
def turn_of(h, length, worth):
    """Return what a change of the sum of two directions is worth, if one of the half vector h of them is `worth`."""
    along = dot(worth, h)
    return (worth[0] - along * h[0]) / length, (worth[1] - along * h[1]) / length, (worth[2] - along * h[2]) / length


@njit(nogil=True, cache=True)
def tangents_of(
    start, end, d_normal, d_camera, d_light, d_color, d_metallic, d_roughness,
    normal, to_camera, to_light, base_color, metallic, roughness, table, out,
):  # fmt: skip
    """Write the tangents [K, M, S, 3] of the points start..end-1, from those of each input."""
    for m in range(start, end):
        n, v, color = vector(normal, m, 0), vector(to_camera, m, 0), vector(base_color, m, 0)
        metal = number(metallic, m)
        rough = clamp(number(roughness, m), LEAST_ROUGHNESS, 1.0)
        is_within = LEAST_ROUGHNESS <= number(roughness, m) <= 1.0
        a2 = rough * rough * rough * rough
        raw_nv = dot(n, v)
        nv = clamp(raw_nv, LEAST_COSINE, np.inf)
        camera = math.sqrt(a2 + (1.0 - a2) * nv * nv)
        tv, tv_by_rough, tv_by_nv = share_of(table, rough, nv)
        f0, a2_by_rough = straight_on(metal, color), 4.0 * rough * rough * rough
        for s in range(to_light.shape[1]):
            to = vector(to_light, m, s)
            nl = dot(n, to)
            if nl < 0.0:
                for k in range(len(out)):
                    out[k, m, s, 0], out[k, m, s, 1], out[k, m, s, 2] = 0.0, 0.0, 0.0
                continue
            h, length = half_of(to, v)
            x = cross(n, h)
            s2 = dot(x, x)
            q = s2 + a2 * (1.0 - s2)
            light = math.sqrt(a2 + (1.0 - a2) * nl * nl)
            facets, seen = a2 / (math.pi * q * q), 0.5 / (nv * light + nl * camera)
            raw_e = 1.0 - dot(v, h)
            e = clamp(raw_e, 0.0, 1.0)
            e4 = e * e * e * e
            grazing = e4 * e
            tl, tl_by_rough, tl_by_nl = share_of(table, rough, nl)
            # The result is fresnel specular + color left_over, and fresnel is made of f0 and grazing. First what a
            # change of each direction or number is worth to specular (S), left_over (B) and grazing (G).
            specular, base = nl * facets * seen, (1.0 - metal) / math.pi
            by_s2 = -2.0 * specular * (1.0 - a2) / q
            by_sum = -2.0 * specular * seen
            s_by_nl = facets * seen + by_sum * (camera + nv * (1.0 - a2) * nl / light)
            s_by_nv = by_sum * (light + nl * (1.0 - a2) * nv / camera)
            s_by_a2 = specular * (1.0 / a2 - 2.0 * (1.0 - s2) / q)
            s_by_a2 += 0.5 * by_sum * (nv * (1.0 - nl * nl) / light + nl * (1.0 - nv * nv) / camera)
            s_by_nv = s_by_nv if raw_nv >= LEAST_COSINE else 0.0
            b_by_nl = base * tv * (tl + nl * tl_by_nl)
            b_by_nv = base * nl * tl * tv_by_nv if raw_nv >= LEAST_COSINE else 0.0
            b_by_rough = base * nl * (tl_by_rough * tv + tl * tv_by_rough)
            b_by_metal = -nl * tl * tv / math.pi
            g_by_vh = -5.0 * e4 if 0.0 <= raw_e <= 1.0 else 0.0
            # The half vector is in n x h and v.h; a change of the sum of l and v that it is made of turns it.
            s_h = cross(x, n)
            s_sum = turn_of(h, length, (2.0 * by_s2 * s_h[0], 2.0 * by_s2 * s_h[1], 2.0 * by_s2 * s_h[2]))
            g_sum = turn_of(h, length, (g_by_vh * v[0], g_by_vh * v[1], g_by_vh * v[2]))
            s_n = plus(
                plus(cross(h, (2.0 * by_s2 * x[0], 2.0 * by_s2 * x[1], 2.0 * by_s2 * x[2])), s_by_nl, to), s_by_nv, v
            )
            s_v, s_to = plus(s_sum, s_by_nv, n), plus(s_sum, s_by_nl, n)
            g_v = plus(g_sum, g_by_vh, h)
            left_over = nl * base * tl * tv
            for k in range(len(out)):
                d_n, d_v = tangent_at(d_normal, k, m, 0), tangent_at(d_camera, k, m, 0)
                d_to, d_c = tangent_at(d_light, k, m, s), tangent_at(d_color, k, m, 0)
                d_metal = np.float64(d_metallic[k, m if d_metallic.shape[1] > 1 else 0, 0])
                d_rough = np.float64(d_roughness[k, m if d_roughness.shape[1] > 1 else 0, 0]) if is_within else 0.0
                d_specular = dot(s_n, d_n) + dot(s_v, d_v) + dot(s_to, d_to) + s_by_a2 * a2_by_rough * d_rough
                d_grazing = dot(g_v, d_v) + dot(g_sum, d_to)
                d_left_over = b_by_nl * (dot(d_n, to) + dot(n, d_to)) + b_by_nv * (dot(d_n, v) + dot(n, d_v))
                d_left_over += b_by_rough * d_rough + b_by_metal * d_metal
                for c in range(3):
                    d_f0 = d_metal * (color[c] - DIELECTRIC_F0) + metal * d_c[c]
                    d_fresnel = d_f0 * (1.0 - grazing) + (1.0 - f0[c]) * d_grazing
                    fresnel = f0[c] + (1.0 - f0[c]) * grazing
                    value = d_fresnel * specular + fresnel * d_specular + d_c[c] * left_over + color[c] * d_left_over
                    out[k, m, s, c] = value


def jvp(
    tangents: Sequence[Tensor | None],
    normal: Tensor,
    to_camera: Tensor,
    to_light: Tensor,
    base_color: Tensor,
    metallic: Tensor,
    roughness: Tensor,
    diffuse_table: Tensor,
) -> Tensor:
    """See run_differentiable."""
    inputs = (normal, to_camera, to_light, base_color, metallic, roughness)
    d_normal, d_camera, d_light, d_color, *d_numbers = tangents_or_zeros(tangents[:-1], inputs)
    d_vectors = (d_normal[:, :, None], d_camera[:, :, None], d_light, d_color[:, :, None])
    out = memory.empty((len(d_normal), len(normal), to_light.shape[1], 3), normal.dtype)
    given = _inputs(*inputs, diffuse_table)
    parallel_for(tangents_of, len(normal), GRAIN, *as_numpy(*d_vectors, *d_numbers), *given, out.numpy())
    return out
