"""The op `ggx`: contract, checks, choice of implementation, autograd."""

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
    """[M, S, 3] BSDF times cosine of glTF's metallic-roughness material, zero for light from behind.

        (D V F + (1 - metallic) base_color / pi T(n.l) T(n.v)) n.l       f0 = lerp(0.04, base_color, metallic)

    with D, V, F of `formulas`; T is what the diffuse base gets through the shine above it. Differentiable in all but
    the table.

    normal, to_camera: [M, 3] unit, at each of M points. to_light: [M or 1, S, 3] unit, S lights.
    base_color: [M or 1, 3] linear RGB. metallic, roughness: [M or 1, 1] in 0..1; alpha = roughness^2, and roughness
        below formulas.LEAST_ROUGHNESS counts as that.
    diffuse_table: [R, K, 1] T over roughness and cosine, as `formulas.look_up` takes it; at least 2 rows and columns.

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
