"""Describe the reflection of glTF's metallic-roughness material by lobes, for light from all directions."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.errors import ShapeError
from diffrender.ops.differentiable import run_differentiable

# Entries of a table: those of the albedo, before those of each lobe.
ALBEDO_ENTRIES, LOBE_ENTRIES = 2, 4


class GgxLobes(NamedTuple):
    """What `ggx_lobes` returns.

    diffuse: [M, 3] albedo of the diffuse base: what the specular reflection lets through to it.
    direction: [M, L, 3] unit axes of the lobes, in the frame of the normals.
    roughness: [M, L] their widths: those of GGX lobes at normal incidence, alpha = roughness^2.
    weight: [M, L, 3] their directional albedos.
    """

    diffuse: Tensor
    direction: Tensor
    roughness: Tensor
    weight: Tensor


def ggx_lobes(
    normal: Tensor,
    to_camera: Tensor,
    base_color: Tensor,
    metallic: Tensor,
    roughness: Tensor,
    table: Tensor,
    *,
    backend: str | None = None,
) -> GgxLobes:
    """Return the diffuse albedo and L specular lobes of `ggx`'s material, at M points seen from one direction each.

    Differentiable in all but the table. Light that arrives evenly from everywhere is reflected as
    `diffuse + weight.sum(1)`; other light as

        lobes = ggx_lobes(normal, to_camera, base_color, metallic, roughness, table)
        color = lobes.diffuse * mean_around(normal) + (lobes.weight * mean_of(lobes.direction, lobes.roughness)).sum(1)

    normal, to_camera: [M, 3] of unit length, in the same frame.
    base_color: [M or 1, 3] linear RGB in 0..1; one row serves all points, and gets the sum of their gradients, as do
        the next two.
    metallic: [M or 1, 1] in 0..1.
    roughness: [M or 1, 1] in 0..1; below formulas.LEAST_ROUGHNESS it is held, with no gradient.
    table: [R, K, T] of T = 2 + 4 L entries over roughness and n.v, as `formulas.look_up` takes it, at least 2 rows and
        columns: scale and bias of the directional albedo `f0 scale + bias`; then, L of each, w of the lobes' axes,
        along (1 - w) n + w m with m the mirror direction; their roughness; their fractions of scale, and of bias.
    backend: None for the device's own (Numba on the CPU, Triton on CUDA), "numba", "triton" or "reference".

    Raises ShapeError for shapes, dtypes or devices that do not agree.
    Source: Karis, Real Shading in Unreal Engine 4 (2013), whose split sum has one lobe; NOTES.md has the gradient.
    """
    check_tensors(
        "ggx_lobes",
        normal=(normal, "M 3"),
        to_camera=(to_camera, "M 3"),
        base_color=(base_color, "1|M 3"),
        metallic=(metallic, "1|M 1"),
        roughness=(roughness, "1|M 1"),
        table=(table, "R K T"),
    )
    if count_lobes(table) < 1 or (table.shape[2] - ALBEDO_ENTRIES) % LOBE_ENTRIES:
        raise ShapeError(f"ggx_lobes: table must have T = 2 + 4 L entries, 6, 10 and so on, got {table.shape[2]}")
    return GgxLobes(
        *run_differentiable("ggx_lobes", backend, normal, to_camera, base_color, metallic, roughness, table)
    )


def count_lobes(table: Tensor) -> int:
    """Return L of a table [R, K, 2 + 4 L]."""
    return (table.shape[2] - ALBEDO_ENTRIES) // LOBE_ENTRIES
