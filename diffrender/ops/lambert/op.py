"""The op `lambert`: contract, checks, choice of implementation, autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffrender.checks import check_float, check_same_device, check_same_dtype, check_shape
from diffrender.ops.backend import implementation


def lambert(normal: Tensor, to_light: Tensor, base_color: Tensor, *, backend: str | None = None) -> Tensor:
    """[M, S, 3] BSDF times cosine of a diffuse surface: base_color / pi n.l, zero for light from behind.

    Differentiable in all three.

    normal: [M, 3] unit, at each of M points. to_light: [M or 1, S, 3] unit, S lights.
    base_color: [M or 1, 3] linear RGB.

    Raises ShapeError for shapes, dtypes or devices that do not agree.
    Source: Lambert, Photometria, 1760.
    """
    n_points = len(normal)
    tensors = {"normal": normal, "to_light": to_light, "base_color": base_color}
    check_shape("lambert", "normal", normal, ("M", 3))
    check_float("lambert", "normal", normal)
    check_shape("lambert", "to_light", to_light, (1 if len(to_light) == 1 else n_points, "S", 3))
    check_shape("lambert", "base_color", base_color, (1 if len(base_color) == 1 else n_points, 3))
    check_same_device("lambert", **tensors)
    check_same_dtype("lambert", **tensors)
    name, module = implementation("lambert", normal.device, backend)
    if name == "reference":
        return module.forward(normal, to_light, base_color)
    return _Lambert.apply(normal, to_light, base_color, module)  # type: ignore[return-value]


class _Lambert(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, normal: Tensor, to_light: Tensor, base_color: Tensor, module: Any) -> Tensor:
        ctx.save_for_backward(normal, to_light, base_color)
        ctx.module = module
        return module.forward(normal, to_light, base_color)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        return *ctx.module.backward(grad_out, *ctx.saved_tensors, ctx.needs_input_grad[:3]), None
