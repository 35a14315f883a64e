"""Autograd of the ops whose backward pass needs just what their forward pass took."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffrender.ops.backend import implementation
from diffrender.threads import on_kernel_threads


def run_differentiable(op: str, backend: str | None, *arguments: Any) -> Any:
    """Run `op` on `arguments`, the first of which is a tensor, with the gradients of the chosen implementation.

    A kernel module has `forward(*arguments)` and `backward(*grads, *arguments, wants)`. There is one of `grads` per
    result, one of `wants` per argument (whether its gradient is needed), and `backward` returns one gradient per
    argument: None where it is not wanted or there is none. The gradient of a reference is autograd's own.
    """
    name, module = implementation(op, arguments[0].device, backend)
    return module.forward(*arguments) if name == "reference" else _Kernel.apply(module, *arguments)


class _Kernel(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, module: ModuleType, *arguments: Any) -> Any:
        ctx.module = module
        # Tensors must be saved in autograd's way; the others keep their positions.
        ctx.others = [None if isinstance(argument, Tensor) else argument for argument in arguments]
        ctx.save_for_backward(*(argument if isinstance(argument, Tensor) else None for argument in arguments))
        return module.forward(*arguments)

    @staticmethod
    @once_differentiable
    @on_kernel_threads
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        arguments = [
            other if tensor is None else tensor for tensor, other in zip(ctx.saved_tensors, ctx.others, strict=True)
        ]
        return None, *ctx.module.backward(*grads, *arguments, ctx.needs_input_grad[1:])
