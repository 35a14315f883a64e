"""Shade glTF's metallic-roughness material under single lights."""

from __future__ import annotations

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.ops.differentiable import run_differentiable


def ggx(
    normal: Tensor,
    to_camera: Tensor,
    to_light: Tensor,
    base_color: Tensor,
    metallic: Tensor,
    roughness: Tensor,
    diffuse_table: Tensor,
    *,
    backend: str | None = None,
) -> Tensor:
    """Return BSDF times cosine [M, S, 3] of glTF's metallic-roughness material, zero for light from behind.

        (D V F + (1 - metallic) base_color / pi T(n.l) T(n.v)) n.l       f0 = lerp(0.04, base_color, metallic)

    with D, V, F of `formulas`; T is what the specular layer lets through to the diffuse base. Multiply by the light's
    radiance and sum over the S lights. Differentiable in all but the table.

        weight = ggx(normal, to_camera, to_light, base_color, metallic, roughness, table)
        color = (weight * radiance).sum(1)                                      # [M, 3], radiance [M or 1, S, 3]

    normal, to_camera: [M, 3] of unit length at each of M points, in the same frame as to_light. Not of unit length,
        they give highlights that are too bright or too wide: `normalize` interpolated normals.
    to_light: [M or 1, S, 3] of unit length, towards S lights. One row serves all points (a sun), and gets the sum of
        their gradients; so do the next three.
    base_color: [M or 1, 3] linear RGB in 0..1.
    metallic: [M or 1, 1] in 0..1.
    roughness: [M or 1, 1] in 0..1; alpha = roughness^2. Below formulas.LEAST_ROUGHNESS it is held, with no gradient.
    diffuse_table: [R, K, 1] T over roughness and cosine, as `formulas.look_up` takes it; at least 2 rows and columns.
    backend: None for the device's own (Numba on the CPU, Triton on CUDA), "numba", "triton" or "reference".

    Raises ShapeError for shapes, dtypes or devices that do not agree.
    Source: glTF 2.0 specification, appendix B; NOTES.md has the gradient.
    """
    check_tensors(
        "ggx",
        normal=(normal, "M 3"),
        to_camera=(to_camera, "M 3"),
        to_light=(to_light, "1|M S 3"),
        base_color=(base_color, "1|M 3"),
        metallic=(metallic, "1|M 1"),
        roughness=(roughness, "1|M 1"),
        diffuse_table=(diffuse_table, "R K 1"),
    )
    return run_differentiable(
        "ggx", backend, normal, to_camera, to_light, base_color, metallic, roughness, diffuse_table
    )
