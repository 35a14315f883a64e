"""Lobes of glTF's metallic-roughness material and their gradients on CUDA, one lane per point; names as in NOTES.md.

The cosine between normal and camera is in float64, since its digits cancel; all else is in the dtype of the inputs.
Gradients of rows that serve all points are sums by atomic additions: their last bits depend on the order.
"""

from __future__ import annotations

from collections.abc import Sequence

import triton
import triton.language as tl
from torch import Tensor

from diffrender.ops.ggx.triton_cuda import (
    BLOCK,
    DIELECTRIC_F0,
    LEAST_COSINE,
    LEAST_ROUGHNESS,
    clamp,
    entry,
    place_of,
    straight_on,
    surface,
)
from diffrender.ops.ggx_lobes.op import count_lobes
from diffrender.ops.tangents import count_tangents
from diffrender.ops.triton_launch import launch, tangents_or
from diffrender.ops.triton_vec3 import (
    dot,
    give,
    give_vector,
    load_triple,
    plus,
    rooms_for,
    step_of,
    store_triple,
    tangent_row,
)

INPUTS = ("NORMAL", "CAMERA", "COLOR", "METALLIC", "ROUGHNESS")


@triton.jit
def axis_of(w, nv):
    """Return the factors of n and -v in a lobe's axis, the inverse length that is in them, and whether it is held."""
    squared = (1.0 - w) * (1.0 - w) + w * w + 2.0 * w * (1.0 - w) * nv
    inverse = 1.0 / tl.sqrt(tl.where(squared < LEAST_COSINE, LEAST_COSINE, squared))
    return (1.0 - w + 2.0 * w * nv) * inverse, w * inverse, inverse, squared < LEAST_COSINE


@triton.jit(do_not_specialize=[
    "n_points", "n_lobes", "rows", "columns", "color_step", "metal_step", "rough_step",
])  # fmt: skip
def evaluate(
    normal, to_camera, base_color, metallic, roughness, table, diffuse, direction, width, weight,
    n_points, n_lobes, rows, columns, color_step, metal_step, rough_step, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the lobes of the points."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n_points
    n, v, color, metal, rough, nv = surface(
        normal, to_camera, base_color, metallic, roughness, m, here, color_step, metal_step, rough_step
    )
    n_entries = 2 + 4 * n_lobes
    place = place_of(table, rows, columns, n_entries, clamp(rough, LEAST_ROUGHNESS, 1.0), nv)
    scale, bias = entry(place, columns, n_entries, 0)[0], entry(place, columns, n_entries, 1)[0]
    f0 = straight_on(metal, color)
    base = (1.0 - metal) * (1.0 - (scale * DIELECTRIC_F0 + bias))
    store_triple(diffuse, m, (color[0] * base, color[1] * base, color[2] * base), here)
    s = 0
    while s < n_lobes:
        axis = axis_of(entry(place, columns, n_entries, 2 + s)[0], nv)
        row = m * n_lobes + s
        store_triple(direction, row, plus((axis[0] * n[0], axis[0] * n[1], axis[0] * n[2]), -axis[1], v), here)
        tl.store(width + row, entry(place, columns, n_entries, 2 + n_lobes + s)[0], here)
        straight = scale * entry(place, columns, n_entries, 2 + 2 * n_lobes + s)[0]
        grazing = bias * entry(place, columns, n_entries, 2 + 3 * n_lobes + s)[0]
        store_triple(
            weight, row, (f0[0] * straight + grazing, f0[1] * straight + grazing, f0[2] * straight + grazing), here
        )
        s += 1


@triton.jit(do_not_specialize=[
    "n_points", "n_lobes", "rows", "columns", "color_step", "metal_step", "rough_step",
])  # fmt: skip
def gradients(
    of_diffuse, of_direction, of_width, of_weight, normal, to_camera, base_color, metallic, roughness, table,
    grad_normal, grad_camera, grad_color, grad_metallic, grad_roughness,
    n_points, n_lobes, rows, columns, color_step, metal_step, rough_step,
    NORMAL: tl.constexpr, CAMERA: tl.constexpr, COLOR: tl.constexpr, METALLIC: tl.constexpr, ROUGHNESS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Write or add the gradients with respect to each input; the lines are those of NOTES.md."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n_points
    n, v, color, metal, rough, nv = surface(
        normal, to_camera, base_color, metallic, roughness, m, here, color_step, metal_step, rough_step
    )
    n_entries = 2 + 4 * n_lobes
    place = place_of(table, rows, columns, n_entries, clamp(rough, LEAST_ROUGHNESS, 1.0), nv)
    scale, scale_by_row, scale_by_column = entry(place, columns, n_entries, 0)
    bias, bias_by_row, bias_by_column = entry(place, columns, n_entries, 1)
    f0, left_over = straight_on(metal, color), 1.0 - (scale * DIELECTRIC_F0 + bias)
    g_d = load_triple(of_diffuse, m, here)
    g_base = dot(g_d, color)
    g_bias = -g_base * (1.0 - metal)
    g_scale = g_bias * DIELECTRIC_F0
    zero = tl.zeros([BLOCK], metal.dtype)
    g_n, g_v, g_f0, g_nv, g_row, g_column = (zero, zero, zero), (zero, zero, zero), (zero, zero, zero), zero, zero, zero
    s = 0
    while s < n_lobes:
        w, w_by_row, w_by_column = entry(place, columns, n_entries, 2 + s)
        _, width_by_row, width_by_column = entry(place, columns, n_entries, 2 + n_lobes + s)
        of_scale, of_scale_by_row, of_scale_by_column = entry(place, columns, n_entries, 2 + 2 * n_lobes + s)
        of_bias, of_bias_by_row, of_bias_by_column = entry(place, columns, n_entries, 2 + 3 * n_lobes + s)
        row = m * n_lobes + s
        # The weight.
        g = load_triple(of_weight, row, here)
        g_by_f0, g_total = dot(g, f0), g[0] + g[1] + g[2]
        g_f0 = plus(g_f0, scale * of_scale, g)
        g_scale += g_by_f0 * of_scale
        g_bias += g_total * of_bias
        # The direction.
        of_n, of_v, inverse, is_held = axis_of(w, nv)
        g = load_triple(of_direction, row, here)
        g_n, g_v = plus(g_n, of_n, g), plus(g_v, -of_v, g)
        g_of_n, g_of_v = dot(g, n), -dot(g, v)
        g_squared = tl.where(is_held, 0, -0.5 * inverse * inverse * (g_of_n * of_n + g_of_v * of_v))
        g_w = inverse * (g_of_n * (2.0 * nv - 1.0) + g_of_v) + g_squared * (4.0 * w - 2.0) * (1.0 - nv)
        g_nv += inverse * g_of_n * 2.0 * w + g_squared * 2.0 * w * (1.0 - w)
        # What was looked up.
        g_width = tl.load(of_width + row, here, other=0)
        g_of_scale, g_of_bias = g_by_f0 * scale, g_total * bias
        g_row += g_w * w_by_row + g_width * width_by_row + g_of_scale * of_scale_by_row + g_of_bias * of_bias_by_row
        g_column += g_w * w_by_column + g_width * width_by_column
        g_column += g_of_scale * of_scale_by_column + g_of_bias * of_bias_by_column
        s += 1
    g_row += g_scale * scale_by_row + g_bias * bias_by_row
    g_column += g_scale * scale_by_column + g_bias * bias_by_column
    g_nv += g_column * place[3]
    give_vector(grad_normal, m, 0, here, plus(g_n, g_nv, v), NORMAL)
    give_vector(grad_camera, m, 0, here, plus(g_v, g_nv, n), CAMERA)
    base = (1.0 - metal) * left_over
    give_vector(grad_color, m, 0, here, plus((base * g_d[0], base * g_d[1], base * g_d[2]), metal, g_f0), COLOR)
    g_metal = dot(g_f0, color) - (g_f0[0] + g_f0[1] + g_f0[2]) * DIELECTRIC_F0 - g_base * left_over
    give(grad_metallic, m, 0, here, g_metal, METALLIC)
    is_within = (rough >= LEAST_ROUGHNESS) & (rough <= 1.0)
    give(grad_roughness, m, 0, here, tl.where(is_within, g_row * (rows - 1), 0), ROUGHNESS)


@triton.jit(do_not_specialize=[
    "n_points", "n_lobes", "rows", "columns", "color_step", "metal_step", "rough_step", "n_tangents",
])  # fmt: skip
def tangents_of(
    d_normal, d_camera, d_color, d_metallic, d_roughness,
    normal, to_camera, base_color, metallic, roughness, table, diffuse, direction, width, weight,
    n_points, n_lobes, rows, columns, color_step, metal_step, rough_step, n_tangents,
    NORMAL: tl.constexpr, CAMERA: tl.constexpr, COLOR: tl.constexpr, METALLIC: tl.constexpr, ROUGHNESS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the tangents [K, ...] of the lobes, from those of each input; zero those of inputs without."""
    m = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = m < n_points
    n, v, color, metal, rough, nv = surface(
        normal, to_camera, base_color, metallic, roughness, m, here, color_step, metal_step, rough_step
    )
    n_entries = 2 + 4 * n_lobes
    is_within = (rough >= LEAST_ROUGHNESS) & (rough <= 1.0)
    place = place_of(table, rows, columns, n_entries, clamp(rough, LEAST_ROUGHNESS, 1.0), nv)
    scale, scale_by_row, scale_by_column = entry(place, columns, n_entries, 0)
    bias, bias_by_row, bias_by_column = entry(place, columns, n_entries, 1)
    f0, left_over = straight_on(metal, color), 1.0 - (scale * DIELECTRIC_F0 + bias)
    base = (1.0 - metal) * left_over
    k = 0
    while k < n_tangents:
        row = tangent_row(k, n_points, m, 1)
        d_n = load_triple(d_normal, row, here & NORMAL)
        d_v = load_triple(d_camera, row, here & CAMERA)
        d_c = load_triple(d_color, tangent_row(k, n_points, m, color_step), here & COLOR)
        d_metal = tl.load(d_metallic + tangent_row(k, n_points, m, metal_step), here & METALLIC, other=0)
        at = d_roughness + tangent_row(k, n_points, m, rough_step)
        d_row = tl.load(at, here & is_within & ROUGHNESS, other=0) * (rows - 1)
        d_nv = dot(d_n, v) + dot(n, d_v)
        d_column = d_nv * place[3]
        d_scale = scale_by_row * d_row + scale_by_column * d_column
        d_bias = bias_by_row * d_row + bias_by_column * d_column
        d_base = -d_metal * left_over - (1.0 - metal) * (d_scale * DIELECTRIC_F0 + d_bias)
        for c in tl.static_range(3):
            tl.store(diffuse + 3 * row + c, d_c[c] * base + color[c] * d_base, here)
        s = 0
        while s < n_lobes:
            w, w_by_row, w_by_column = entry(place, columns, n_entries, 2 + s)
            _, width_by_row, width_by_column = entry(place, columns, n_entries, 2 + n_lobes + s)
            of_scale, of_scale_by_row, of_scale_by_column = entry(place, columns, n_entries, 2 + 2 * n_lobes + s)
            of_bias, of_bias_by_row, of_bias_by_column = entry(place, columns, n_entries, 2 + 3 * n_lobes + s)
            lobe = row * n_lobes + s
            tl.store(width + lobe, width_by_row * d_row + width_by_column * d_column, here)
            d_w = w_by_row * d_row + w_by_column * d_column
            of_n, of_v, inverse, is_held = axis_of(w, nv)
            d_squared = (4.0 * w - 2.0) * (1.0 - nv) * d_w + 2.0 * w * (1.0 - w) * d_nv
            shrunk = tl.where(is_held, 0, -0.5 * inverse * inverse * d_squared)
            d_of_n = inverse * ((2.0 * nv - 1.0) * d_w + 2.0 * w * d_nv) + of_n * shrunk
            d_of_v = inverse * d_w + of_v * shrunk
            straight = scale * of_scale
            d_straight = d_scale * of_scale + scale * (of_scale_by_row * d_row + of_scale_by_column * d_column)
            d_grazing = d_bias * of_bias + bias * (of_bias_by_row * d_row + of_bias_by_column * d_column)
            for c in tl.static_range(3):
                d_axis = d_of_n * n[c] + of_n * d_n[c] - d_of_v * v[c] - of_v * d_v[c]
                tl.store(direction + 3 * lobe + c, d_axis, here)
                d_f0 = d_metal * (color[c] - DIELECTRIC_F0) + metal * d_c[c]
                tl.store(weight + 3 * lobe + c, d_f0 * straight + f0[c] * d_straight + d_grazing, here)
            s += 1
        k += 1


def forward(
    normal: Tensor, to_camera: Tensor, base_color: Tensor, metallic: Tensor, roughness: Tensor, table: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See op.ggx_lobes."""
    inputs = [part.contiguous() for part in (normal, to_camera, base_color, metallic, roughness, table)]
    outputs = _room_for((len(normal),), count_lobes(table), normal)
    launch(evaluate, triton.cdiv(len(normal), BLOCK), *inputs, *outputs, *_sizes(*inputs), BLOCK=BLOCK)
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
    inputs = [part.contiguous() for part in (normal, to_camera, base_color, metallic, roughness, table)]
    grads, ways = rooms_for(inputs[:-1], wants[:-1])
    constants = dict(zip(INPUTS, ways, strict=True), BLOCK=BLOCK)
    given = (part.contiguous() for part in (of_diffuse, of_direction, of_width, of_weight))
    launch(gradients, triton.cdiv(len(normal), BLOCK), *given, *inputs, *grads, *_sizes(*inputs), **constants)
    return *(grad if wanted else None for grad, wanted in zip(grads, wants[:-1], strict=True)), None


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
    inputs = [part.contiguous() for part in (normal, to_camera, base_color, metallic, roughness, table)]
    moved, given = tangents_or(inputs[:-1], tangents[:-1])
    n_tangents = count_tangents(tangents)
    outputs = _room_for((n_tangents, len(normal)), count_lobes(table), normal)
    constants = dict(zip(INPUTS, given, strict=True), BLOCK=BLOCK)
    sizes = (*_sizes(*inputs), n_tangents)
    launch(tangents_of, triton.cdiv(len(normal), BLOCK), *moved, *inputs, *outputs, *sizes, **constants)
    return outputs


def _sizes(
    normal: Tensor, to_camera: Tensor, base_color: Tensor, metallic: Tensor, roughness: Tensor, table: Tensor
) -> tuple[int, ...]:
    """Return the numbers of points and lobes, the table's size, and the steps between the rows of inputs."""
    steps = (step_of(part) for part in (base_color, metallic, roughness))
    return len(normal), count_lobes(table), *table.shape[:2], *steps


def _room_for(points: tuple[int, ...], n_lobes: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return memory for the results at points [..., M]."""
    shapes = ((3,), (n_lobes, 3), (n_lobes,), (n_lobes, 3))
    diffuse, direction, width, weight = (like.new_empty((*points, *shape)) for shape in shapes)
    return diffuse, direction, width, weight
