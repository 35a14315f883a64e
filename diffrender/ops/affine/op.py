"""The op `affine`: contract, checks, choice of implementation, autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffrender.checks import check_float, check_same_device, check_same_dtype, check_shape
from diffrender.ops.backend import implementation


def affine(matrix: Tensor, points: Tensor, *, backend: str | None = None) -> Tensor:
    """[N, V, R]: matrix[n] times (x, y, z, 1) for every point; differentiable in both.

    The sums, forwards and backwards, do not depend on the number of threads, as those of a library's matrix product do.

    matrix: [N, R, 4]; points: [V, 3].
    """
    check_shape("affine", "matrix", matrix, ("N", "R", 4))
    check_float("affine", "matrix", matrix)
    check_shape("affine", "points", points, ("V", 3))
    check_same_device("affine", matrix=matrix, points=points)
    check_same_dtype("affine", matrix=matrix, points=points)
    name, module = implementation("affine", points.device, backend)
    if name == "reference":
        return module.forward(matrix, points)
    return _Affine.apply(matrix, points, module)  # type: ignore[return-value]


class _Affine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, points: Tensor, module: Any) -> Tensor:
        ctx.save_for_backward(matrix, points)
        ctx.module = module
        return module.forward(matrix, points)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        matrix, points = ctx.saved_tensors
        grad_matrix = ctx.module.backward_matrix(grad_out, points) if ctx.needs_input_grad[0] else None
        grad_points = ctx.module.backward_points(grad_out, matrix) if ctx.needs_input_grad[1] else None
        return grad_matrix, grad_points, None
