"""The op `normalize`: contract, checks, choice of implementation, autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffrender.checks import check_float, check_shape
from diffrender.ops.backend import implementation

# Shorter vectors have no direction.
LEAST_LENGTH = 1e-12


def normalize(vectors: Tensor, *, backend: str | None = None) -> Tensor:
    """[M, 3] the vectors [M, 3] divided by their lengths; zero, with zero gradient, where that is below LEAST_LENGTH.

    As torch.nn.functional.normalize, but for vectors without length, whose gradient there is 1e12 times what comes in.
    Float32 or float64. Differentiable.
    """
    check_shape("normalize", "vectors", vectors, ("M", 3))
    check_float("normalize", "vectors", vectors)
    name, module = implementation("normalize", vectors.device, backend)
    if name == "reference":
        return module.forward(vectors)
    return _Unit.apply(vectors, module)  # type: ignore[return-value]


class _Unit(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor, module: Any) -> Tensor:
        ctx.save_for_backward(vectors)
        ctx.module = module
        return module.forward(vectors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        return ctx.module.backward(grad_out, *ctx.saved_tensors), None
