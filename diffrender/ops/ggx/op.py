"""The op `ggx`: contract, checks, choice of implementation, autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffrender.checks import check_float, check_same_device, check_same_dtype, check_shape
from diffrender.ops.backend import implementation


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
    n_points = len(normal)
    tensors = {"normal": normal, "to_camera": to_camera, "to_light": to_light, "base_color": base_color}
    tensors |= {"metallic": metallic, "roughness": roughness, "diffuse_table": diffuse_table}
    check_shape("ggx", "normal", normal, ("M", 3))
    check_float("ggx", "normal", normal)
    check_shape("ggx", "to_camera", to_camera, (n_points, 3))
    check_shape("ggx", "to_light", to_light, (_rows(to_light, n_points), "S", 3))
    check_shape("ggx", "base_color", base_color, (_rows(base_color, n_points), 3))
    check_shape("ggx", "metallic", metallic, (_rows(metallic, n_points), 1))
    check_shape("ggx", "roughness", roughness, (_rows(roughness, n_points), 1))
    check_shape("ggx", "diffuse_table", diffuse_table, ("R", "K", 1))
    check_same_device("ggx", **tensors)
    check_same_dtype("ggx", **tensors)
    name, module = implementation("ggx", normal.device, backend)
    arguments = (normal, to_camera, to_light, base_color, metallic, roughness, diffuse_table)
    if name == "reference":
        return module.forward(*arguments)
    return _Ggx.apply(module, *arguments)  # type: ignore[return-value]


def _rows(value: Tensor, n_points: int) -> int:
    """How many rows it may have: one for all points, or as many as there are."""
    return 1 if len(value) == 1 else n_points


class _Ggx(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, module: Any, *arguments: Tensor) -> Tensor:
        ctx.save_for_backward(*arguments)
        ctx.module = module
        return module.forward(*arguments)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        return None, *ctx.module.backward(grad_out, *ctx.saved_tensors, ctx.needs_input_grad[1:7]), None
