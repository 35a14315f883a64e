"""glTF's metallic-roughness material and its gradients on CUDA, one lane per point; names as in NOTES.md.

Cosines and the sine between normal and half vector are in float64, since their digits cancel; all else is in the
dtype of the inputs. Gradients of rows that serve all points are sums by atomic additions: their last bits depend on
the order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import triton
import triton.language as tl
from torch import Tensor

from diffrender.ops.ggx import formulas
from diffrender.ops.tangents import count_tangents
from diffrender.ops.triton_launch import launch, tangents_or
from diffrender.ops.triton_vec3 import (
    cross,
    dot,
    give,
    give_vector,
    load_triple,
    plus,
    rooms_for,
    step_of,
    store_triple,
    tangent_row,
    to_dtype,
)

BLOCK = 128
INPUTS = ("NORMAL", "CAMERA", "LIGHT", "COLOR", "METALLIC", "ROUGHNESS")
LEAST_COSINE, LEAST_ROUGHNESS = tl.constexpr(formulas.LEAST_COSINE), tl.constexpr(formulas.LEAST_ROUGHNESS)
DIELECTRIC_F0 = tl.constexpr(formulas.DIELECTRIC_F0)
# What torch's normalize divides by where a vector has no length.
LEAST_LENGTH = tl.constexpr(1e-12)
ONE_OVER_PI = tl.constexpr(1 / math.pi)


@triton.jit
def clamp(value, low, high):
    """Return `value` within low..high; a NaN stays one."""
    return tl.where(value < low, low, tl.where(value > high, high, value))


@triton.jit
def geometry(n, v, to):
    """Return n.l, the half vector, n x h, v.h and |l + v|, in the dtype of the vectors, but made in float64."""
    dtype = n[0].dtype
    n, v, to = to_dtype(n, tl.float64), to_dtype(v, tl.float64), to_dtype(to, tl.float64)
    total = plus(to, 1.0, v)
    squared = dot(total, total)
    length = tl.where(squared < LEAST_LENGTH * LEAST_LENGTH, LEAST_LENGTH, tl.sqrt(squared))
    inverse = 1.0 / length
    h = total[0] * inverse, total[1] * inverse, total[2] * inverse
    x, nl, vh = to_dtype(cross(n, h), dtype), dot(n, to).to(dtype), dot(v, h)
    return nl, to_dtype(h, dtype), x, (1.0 - vh).to(dtype), inverse.to(dtype)


@triton.jit
def place_of(table, rows, columns, n_entries, roughness, cosine):
    """Return where a cell of a table starts, the fractions of its next row and column, and d column / d cosine."""
    root = tl.sqrt(clamp(cosine, LEAST_COSINE, 1.0))
    x, y = root * (columns - 1), roughness * (rows - 1)
    # The first cell where they are NaN.
    left = tl.minimum(tl.where(x > 0, x, 0).to(tl.int32), columns - 2)
    top = tl.minimum(tl.where(y > 0, y, 0).to(tl.int32), rows - 2)
    is_within = (cosine >= LEAST_COSINE) & (cosine <= 1.0)
    by_cosine = tl.where(is_within, (columns - 1) / (2.0 * root), 0)
    return table + (top * columns + left) * n_entries, y - top, x - left, by_cosine


@triton.jit
def entry(place, columns, n_entries, k):
    """Return entry k of the table, and its derivatives by row and column."""
    at, fy, fx, _ = place
    a, b = tl.load(at + k), tl.load(at + n_entries + k)
    c, d = tl.load(at + columns * n_entries + k), tl.load(at + (columns + 1) * n_entries + k)
    upper, lower = a + fx * (b - a), c + fx * (d - c)
    return upper + fy * (lower - upper), lower - upper, b - a + fy * (d - c - b + a)


@triton.jit
def share_of(table, rows, columns, roughness, cosine):
    """Return T, and its derivatives by roughness and cosine."""
    place = place_of(table, rows, columns, 1, roughness, cosine)
    share, by_row, by_column = entry(place, columns, 1, 0)
    return share, by_row * (rows - 1), by_column * place[3]


@triton.jit
def straight_on(metal, color):
    """Return f0, the reflectance seen straight on."""
    return (
        metal * (color[0] - DIELECTRIC_F0) + DIELECTRIC_F0,
        metal * (color[1] - DIELECTRIC_F0) + DIELECTRIC_F0,
        metal * (color[2] - DIELECTRIC_F0) + DIELECTRIC_F0,
    )


@triton.jit
def surface(normal, to_camera, base_color, metallic, roughness, m, here, color_step, metal_step, rough_step):
    """Return n, v and colour, metallic and roughness of points, and n.v before it is held."""
    n, v = load_triple(normal, m, here), load_triple(to_camera, m, here)
    color = load_triple(base_color, m * color_step, here)
    metal = tl.load(metallic + m * metal_step, here, other=0)
    rough = tl.load(roughness + m * rough_step, here, other=0)
    nv = dot(to_dtype(n, tl.float64), to_dtype(v, tl.float64)).to(metal.dtype)
    return n, v, color, metal, rough, nv


@triton.jit(do_not_specialize=[
    "n_points", "n_lights", "rows", "columns", "light_step", "color_step", "metal_step", "rough_step",
])  # fmt: skip
def evaluate(
    normal, to_camera, to_light, base_color, metallic, roughness, table, out,
    n_points, n_lights, rows, columns, light_step, color_step, metal_step, rough_step, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write BSDF times cosine [M, S, 3]."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n_points
    n, v, color, metal, rough, nv = surface(
        normal, to_camera, base_color, metallic, roughness, m, here, color_step, metal_step, rough_step
    )
    rough, nv = clamp(rough, LEAST_ROUGHNESS, 1.0), tl.where(nv < LEAST_COSINE, LEAST_COSINE, nv)
    a2 = (rough * rough) * (rough * rough)
    camera = tl.sqrt(a2 + (1.0 - a2) * nv * nv)
    tv, _, _ = share_of(table, rows, columns, rough, nv)
    f0, diffuse = straight_on(metal, color), (1.0 - metal) * ONE_OVER_PI * tv
    s = 0
    while s < n_lights:
        nl, _, x, e, _ = geometry(n, v, load_triple(to_light, m * light_step * n_lights + s, here))
        nl, e = tl.where(nl < 0, 0, nl), clamp(e, 0.0, 1.0)
        s2 = dot(x, x)
        q = s2 + a2 * (1.0 - s2)
        light = tl.sqrt(a2 + (1.0 - a2) * nl * nl)
        specular = nl * (a2 / (q * q)) * 0.5 / (nv * light + nl * camera) * ONE_OVER_PI
        grazing = e * e * e * e * e
        share, _, _ = share_of(table, rows, columns, rough, nl)
        shown = nl * diffuse * share
        reflected = (
            (f0[0] + (1.0 - f0[0]) * grazing) * specular + color[0] * shown,
            (f0[1] + (1.0 - f0[1]) * grazing) * specular + color[1] * shown,
            (f0[2] + (1.0 - f0[2]) * grazing) * specular + color[2] * shown,
        )
        store_triple(out, m * n_lights + s, reflected, here)
        s += 1


@triton.jit(do_not_specialize=[
    "n_points", "n_lights", "rows", "columns", "light_step", "color_step", "metal_step", "rough_step",
])  # fmt: skip
def gradients(
    grad, normal, to_camera, to_light, base_color, metallic, roughness, table,
    grad_normal, grad_camera, grad_light, grad_color, grad_metallic, grad_roughness,
    n_points, n_lights, rows, columns, light_step, color_step, metal_step, rough_step,
    NORMAL: tl.constexpr, CAMERA: tl.constexpr, LIGHT: tl.constexpr, COLOR: tl.constexpr, METALLIC: tl.constexpr,
    ROUGHNESS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write or add the gradients with respect to each input; the lines are those of NOTES.md."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n_points
    n, v, color, metal, raw_rough, raw_nv = surface(
        normal, to_camera, base_color, metallic, roughness, m, here, color_step, metal_step, rough_step
    )
    rough, nv = clamp(raw_rough, LEAST_ROUGHNESS, 1.0), tl.where(raw_nv < LEAST_COSINE, LEAST_COSINE, raw_nv)
    a2 = (rough * rough) * (rough * rough)
    camera = tl.sqrt(a2 + (1.0 - a2) * nv * nv)
    tv, tv_by_rough, tv_by_nv = share_of(table, rows, columns, rough, nv)
    f0, diffuse = straight_on(metal, color), (1.0 - metal) * ONE_OVER_PI
    zero = tl.zeros([BLOCK], metal.dtype)
    g_n, g_v, g_color = (zero, zero, zero), (zero, zero, zero), (zero, zero, zero)
    g_metal, g_rough, g_a2, g_nv = zero, zero, zero, zero
    s = 0
    while s < n_lights:
        to = load_triple(to_light, m * light_step * n_lights + s, here)
        nl, h, x, raw_e, inverse = geometry(n, v, to)
        # Light from behind has no gradient: all below is in proportion to g.
        is_lit = here & ((nl < 0) == 0)
        g = load_triple(grad, m * n_lights + s, is_lit)
        nl, e = tl.where(is_lit, nl, 0), clamp(raw_e, 0.0, 1.0)
        s2 = dot(x, x)
        q = s2 + a2 * (1.0 - s2)
        light = tl.sqrt(a2 + (1.0 - a2) * nl * nl)
        facets, seen = a2 / (q * q) * ONE_OVER_PI, 0.5 / (nv * light + nl * camera)
        e4 = e * e * e * e
        grazing = e4 * e
        share, share_by_rough, share_by_nl = share_of(table, rows, columns, rough, nl)
        # The incoming gradient, times the colours that it meets.
        g_total, g_f0, g_base = g[0] + g[1] + g[2], dot(g, f0), dot(g, color)
        g_fresnel = g_f0 + (g_total - g_f0) * grazing
        specular = facets * seen
        by_f0, by_color = nl * specular * (1.0 - grazing), nl * diffuse * share * tv
        g_color = plus(g_color, by_f0 * metal + by_color, g)
        g_metal += by_f0 * (g_base - g_total * DIELECTRIC_F0) - nl * share * tv * ONE_OVER_PI * g_base
        # The specular term: D and V; the share of the base: T(n.l) and T(n.v).
        g_nl = g_fresnel * specular + g_base * diffuse * share * tv
        g_facets, g_seen = g_fresnel * nl * seen, g_fresnel * nl * facets
        g_q = -2.0 * g_facets * facets / q
        g_s2 = g_q * (1.0 - a2)
        g_sum = -2.0 * g_seen * seen * seen
        g_light, g_camera = 0.5 * g_sum * nv / light, 0.5 * g_sum * nl / camera
        g_a2 += g_facets * facets / a2 + g_q * (1.0 - s2)
        g_a2 += g_light * (1.0 - nl * nl) + g_camera * (1.0 - nv * nv)
        g_nl += g_sum * camera + 2.0 * g_light * (1.0 - a2) * nl + g_base * nl * diffuse * tv * share_by_nl
        g_nv += g_sum * light + 2.0 * g_camera * (1.0 - a2) * nv + g_base * nl * diffuse * share * tv_by_nv
        g_rough += g_base * nl * diffuse * (tv * share_by_rough + share * tv_by_rough)
        # Directions: the half vector is in n x h and v.h, and is made of l and v.
        g_x = 2.0 * g_s2 * x[0], 2.0 * g_s2 * x[1], 2.0 * g_s2 * x[2]
        is_graded = (raw_e >= 0.0) & (raw_e <= 1.0)
        g_vh = tl.where(is_graded, -5.0 * e4 * nl * specular * (g_total - g_f0), 0)
        g_h = plus(cross(g_x, n), g_vh, v)
        g_a = plus(g_h, -dot(g_h, h), h)
        g_n = plus(plus(g_n, 1.0, cross(h, g_x)), g_nl, to)
        g_v = plus(plus(g_v, g_vh, h), inverse, g_a)
        g_l = plus((g_nl * n[0], g_nl * n[1], g_nl * n[2]), inverse, g_a)
        give_vector(grad_light, m * n_lights + s, s, here, g_l, LIGHT)
        s += 1
    g_nv = tl.where(raw_nv >= LEAST_COSINE, g_nv, 0)
    give_vector(grad_normal, m, 0, here, plus(g_n, g_nv, v), NORMAL)
    give_vector(grad_camera, m, 0, here, plus(g_v, g_nv, n), CAMERA)
    give_vector(grad_color, m, 0, here, g_color, COLOR)
    give(grad_metallic, m, 0, here, g_metal, METALLIC)
    is_within = (raw_rough >= LEAST_ROUGHNESS) & (raw_rough <= 1.0)
    g_rough = tl.where(is_within, g_rough + 4.0 * rough * rough * rough * g_a2, 0)
    give(grad_roughness, m, 0, here, g_rough, ROUGHNESS)


@triton.jit
def turn_of(h, inverse, worth):
    """Return what a change of the sum of two directions is worth, if one of the half vector h of them is `worth`."""
    x, y, z = plus(worth, -dot(worth, h), h)
    return x * inverse, y * inverse, z * inverse


@triton.jit(do_not_specialize=[
    "n_points", "n_lights", "rows", "columns", "light_step", "color_step", "metal_step", "rough_step", "n_tangents",
])  # fmt: skip
def tangents_of(
    d_normal, d_camera, d_light, d_color, d_metallic, d_roughness,
    normal, to_camera, to_light, base_color, metallic, roughness, table, out,
    n_points, n_lights, rows, columns, light_step, color_step, metal_step, rough_step, n_tangents,
    NORMAL: tl.constexpr, CAMERA: tl.constexpr, LIGHT: tl.constexpr, COLOR: tl.constexpr, METALLIC: tl.constexpr,
    ROUGHNESS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write all tangents [K, M, S, 3]; which inputs have any is said by their constants. See NOTES.md."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n_points
    n, v, color, metal, raw_rough, raw_nv = surface(
        normal, to_camera, base_color, metallic, roughness, m, here, color_step, metal_step, rough_step
    )
    rough, nv = clamp(raw_rough, LEAST_ROUGHNESS, 1.0), tl.where(raw_nv < LEAST_COSINE, LEAST_COSINE, raw_nv)
    is_within, is_graded = (raw_rough >= LEAST_ROUGHNESS) & (raw_rough <= 1.0), raw_nv >= LEAST_COSINE
    a2, a2_by_rough = (rough * rough) * (rough * rough), 4.0 * rough * rough * rough
    camera = tl.sqrt(a2 + (1.0 - a2) * nv * nv)
    tv, tv_by_rough, tv_by_nv = share_of(table, rows, columns, rough, nv)
    f0, diffuse = straight_on(metal, color), (1.0 - metal) * ONE_OVER_PI
    s = 0
    while s < n_lights:
        to = load_triple(to_light, m * light_step * n_lights + s, here)
        nl, h, x, raw_e, inverse = geometry(n, v, to)
        is_lit = here & ((nl < 0) == 0)
        nl, e = tl.where(is_lit, nl, 0), clamp(raw_e, 0.0, 1.0)
        s2 = dot(x, x)
        q = s2 + a2 * (1.0 - s2)
        light = tl.sqrt(a2 + (1.0 - a2) * nl * nl)
        facets, seen = a2 / (q * q) * ONE_OVER_PI, 0.5 / (nv * light + nl * camera)
        e4 = e * e * e * e
        grazing = e4 * e
        share, share_by_rough, share_by_nl = share_of(table, rows, columns, rough, nl)
        # The result is fresnel specular + color left_over, and fresnel is made of f0 and grazing. First what a change
        # of each direction or number is worth to specular (S), left_over (B) and grazing (G).
        specular, left_over = nl * facets * seen, nl * diffuse * share * tv
        by_x, by_sum = -4.0 * specular * (1.0 - a2) / q, -2.0 * specular * seen
        s_by_nl = facets * seen + by_sum * (camera + nv * (1.0 - a2) * nl / light)
        s_by_nv = tl.where(is_graded, by_sum * (light + nl * (1.0 - a2) * nv / camera), 0)
        s_by_a2 = specular * (1.0 / a2 - 2.0 * (1.0 - s2) / q)
        s_by_a2 += 0.5 * by_sum * (nv * (1.0 - nl * nl) / light + nl * (1.0 - nv * nv) / camera)
        b_by_nl = diffuse * tv * (share + nl * share_by_nl)
        b_by_nv = tl.where(is_graded, diffuse * nl * share * tv_by_nv, 0)
        b_by_rough = diffuse * nl * (share_by_rough * tv + share * tv_by_rough)
        b_by_metal = -nl * share * tv * ONE_OVER_PI
        g_by_vh = tl.where((raw_e >= 0.0) & (raw_e <= 1.0), -5.0 * e4, 0)
        # The half vector is in n x h and v.h; a change of the sum of l and v that it is made of turns it.
        s_x = by_x * x[0], by_x * x[1], by_x * x[2]
        s_sum, g_sum = (
            turn_of(h, inverse, cross(s_x, n)),
            turn_of(h, inverse, (g_by_vh * v[0], g_by_vh * v[1], g_by_vh * v[2])),
        )
        s_n = plus(plus(cross(h, s_x), s_by_nl, to), s_by_nv, v)
        s_v, s_to = plus(s_sum, s_by_nv, n), plus(s_sum, s_by_nl, n)
        g_v = plus(g_sum, g_by_vh, h)
        k = 0
        while k < n_tangents:
            row = tangent_row(k, n_points, m, 1)
            d_n = load_triple(d_normal, row, here & NORMAL)
            d_v = load_triple(d_camera, row, here & CAMERA)
            d_to = load_triple(d_light, tangent_row(k, n_points, m, light_step) * n_lights + s, here & LIGHT)
            d_c = load_triple(d_color, tangent_row(k, n_points, m, color_step), here & COLOR)
            d_metal = tl.load(d_metallic + tangent_row(k, n_points, m, metal_step), here & METALLIC, other=0)
            at = d_roughness + tangent_row(k, n_points, m, rough_step)
            d_rough = tl.load(at, here & is_within & ROUGHNESS, other=0)
            d_specular = dot(s_n, d_n) + dot(s_v, d_v) + dot(s_to, d_to) + s_by_a2 * a2_by_rough * d_rough
            d_grazing = dot(g_v, d_v) + dot(g_sum, d_to)
            d_left_over = b_by_nl * (dot(d_n, to) + dot(n, d_to)) + b_by_nv * (dot(d_n, v) + dot(n, d_v))
            d_left_over += b_by_rough * d_rough + b_by_metal * d_metal
            for c in tl.static_range(3):
                d_f0 = d_metal * (color[c] - DIELECTRIC_F0) + metal * d_c[c]
                d_fresnel = d_f0 * (1.0 - grazing) + (1.0 - f0[c]) * d_grazing
                fresnel = f0[c] + (1.0 - f0[c]) * grazing
                value = d_fresnel * specular + fresnel * d_specular + d_c[c] * left_over + color[c] * d_left_over
                tl.store(out + 3 * (row * n_lights + s) + c, tl.where(is_lit, value, 0), here)
            k += 1
        s += 1


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
    inputs = (normal, to_camera, to_light, base_color, metallic, roughness, diffuse_table)
    n_points = len(normal)
    out = normal.new_empty((n_points, to_light.shape[1], 3))
    tensors = (part.contiguous() for part in inputs)
    launch(evaluate, triton.cdiv(n_points, BLOCK), *tensors, out, *_sizes(*inputs), BLOCK=BLOCK)
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
    given = (normal, to_camera, to_light, base_color, metallic, roughness, diffuse_table)
    sizes, inputs = _sizes(*given), [part.contiguous() for part in given]
    grads, ways = rooms_for(inputs[:-1], wants[:-1])
    constants = dict(zip(INPUTS, ways, strict=True), BLOCK=BLOCK)
    programs = triton.cdiv(len(normal), BLOCK)
    launch(gradients, programs, grad_out.contiguous(), *inputs, *grads, *sizes, **constants)
    return *(grad if wanted else None for grad, wanted in zip(grads, wants[:-1], strict=True)), None


def _sizes(
    normal: Tensor, to_camera: Tensor, to_light: Tensor, base_color: Tensor, metallic: Tensor, roughness: Tensor,
    diffuse_table: Tensor,
) -> tuple[int, ...]:  # fmt: skip
    """Return the numbers of points and lights, the table's size, and the steps between the rows of inputs."""
    steps = (step_of(part) for part in (to_light, base_color, metallic, roughness))
    return len(normal), to_light.shape[1], *diffuse_table.shape[:2], *steps


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
    arguments = (normal, to_camera, to_light, base_color, metallic, roughness, diffuse_table)
    sizes, inputs = _sizes(*arguments), [part.contiguous() for part in arguments]
    moved, given = tangents_or(inputs[:-1], tangents[:-1])
    out = normal.new_empty((count_tangents(tangents), len(normal), to_light.shape[1], 3))
    constants = dict(zip(INPUTS, given, strict=True), BLOCK=BLOCK)
    launch(tangents_of, triton.cdiv(len(normal), BLOCK), *moved, *inputs, out, *sizes, len(out), **constants)
    return out
