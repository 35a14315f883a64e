"""Derivatives of kernels, in reverse and forward mode, for autograd and for torch.func."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from diffrender.derivatives import constant, has_derivative, on_plain_tensors, refusal_of_vmap
from diffrender.errors import BackendError
from diffrender.ops.backend import implementation
from diffrender.threads import on_kernel_threads


def run_differentiable(op: str, backend: str | None, *arguments: Any) -> Any:
    """Run `op` on `arguments`, the first of which is a tensor, with the derivatives of the chosen implementation.

    A kernel module has

        forward(*arguments)
        backward(*grads, *arguments, wants)     one of `grads` per result, one of `wants` per argument (whether its
                                                gradient is needed); returns one gradient per argument, None where it is
                                                not wanted or there is none
        jvp(tangents, *arguments)               one of `tangents` per argument, [K, ...] as the argument or None, and at
                                                least one that is not; returns the K tangents of each result, None of
                                                one without derivative

    NEEDS_RESULT = True in it: both get the result after the arguments. The derivatives of a reference are autograd's.
    """
    name, module = implementation(op, arguments[0].device, backend)
    return module.forward(*arguments) if name == "reference" else run_kernel(module, *arguments)


def run_kernel(module: Any, *arguments: Any) -> Any:
    """Run forward of a kernel `module`, or of an object like one, with its derivatives (see run_differentiable)."""
    if any(has_derivative(part) for part in arguments if isinstance(part, Tensor)):
        return _apply(_Kernel, module, *arguments)
    return _run_constant(module, arguments)  # torch.func would take a millisecond more


def run_discrete(op: str, backend: str | None, *arguments: Any) -> Any:
    """Run an `op` without derivatives on `arguments`, the first of which is a tensor."""
    return _run_constant(implementation(op, arguments[0].device, backend)[1], arguments)


def run_linear(function: Callable[..., Any], transpose: Callable[..., Any], *tensors: Tensor) -> Any:
    """Run a linear function of tensors: its tangents are the function of tangents, gradients are `transpose` of those.

    transpose: takes one gradient per result and returns one per tensor. Each may return a tensor or a tuple of them.
    Nothing is kept for the derivatives, of which there are any number.
    """
    return _Linear.apply(function, transpose, *tensors)


class _Kernel(torch.autograd.Function):
    @staticmethod
    def forward(module: ModuleType, *arguments: Any) -> Any:
        return module.forward(*arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.set_materialize_grads(False)
        ctx.module, *arguments = inputs
        results = _as_tuple(output)
        ctx.results = [(part.shape, part.dtype) for part in results]
        if getattr(ctx.module, "NEEDS_RESULT", False):
            arguments += results
        # Tensors must be saved in autograd's way; the others keep their positions.
        ctx.others = [None if isinstance(argument, Tensor) else argument for argument in arguments]
        tensors = [argument if isinstance(argument, Tensor) else None for argument in arguments]
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        like = next((grad for grad in grads if grad is not None), None)
        if like is None:
            return (None,) * len(ctx.needs_input_grad)
        filled = [
            like.new_zeros(shape) if grad is None and dtype.is_floating_point else grad
            for grad, (shape, dtype) in zip(grads, ctx.results, strict=True)
        ]
        return None, *_apply(_Gradients, ctx.module, ctx.needs_input_grad[1:], *filled, *_arguments(ctx))

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Tensor | None) -> Any:
        arguments = _arguments(ctx)
        return _Tangents.apply(ctx.module, False, len(tangents), *tangents, *arguments)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *arguments: Any) -> Any:
        raise refusal_of_vmap()


class _Derivative(torch.autograd.Function):
    """A derivative that a kernel computes, which has none itself."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.module = inputs[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:  # type: ignore[override]
        raise _refusal_of_second_derivative(ctx.module)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Any:
        raise _refusal_of_second_derivative(ctx.module)


class _Gradients(_Derivative):
    @staticmethod
    @on_kernel_threads
    def forward(module: ModuleType, wants: Sequence[bool], *grads_and_arguments: Any) -> tuple[Tensor | None, ...]:
        return tuple(module.backward(*grads_and_arguments, wants))

    @staticmethod
    def vmap(info: Any, in_dims: Any, module: ModuleType, wants: Sequence[bool], *tensors: Any) -> Any:
        # As in torch.func.jacrev: one image after the other.
        slices = [
            _Gradients.apply(
                module, wants, *(_at(k, part, dim) for part, dim in zip(tensors, in_dims[2:], strict=True))
            )
            for k in range(info.batch_size)
        ]
        stacked = tuple(None if parts[0] is None else torch.stack(parts) for parts in zip(*slices, strict=True))
        return stacked, tuple(None if part is None else 0 for part in stacked)


class _Tangents(_Derivative):
    @staticmethod
    @on_kernel_threads
    def forward(module: ModuleType, are_many: bool, n_tangents: int, *tangents_and_arguments: Any) -> Any:
        arguments = tangents_and_arguments[n_tangents:]
        # PyTorch makes tangents in float64 of a float32 number times one of Python.
        tangents = [
            None if part is None else part.to(argument.dtype)
            for part, argument in zip(tangents_and_arguments[:n_tangents], arguments, strict=False)
        ]
        if are_many:
            return module.jvp(tangents, *arguments)
        results = module.jvp([None if part is None else part[None] for part in tangents], *arguments)
        return _map(results, lambda part: part[0])

    @staticmethod
    def vmap(info: Any, in_dims: Any, module: ModuleType, are_many: bool, n_tangents: int, *tensors: Any) -> Any:
        if any(dim is not None for dim in tree_leaves(in_dims[3 + n_tangents :])):
            raise refusal_of_vmap()
        tangents = [
            None if part is None else _in_front(part, dim, info.batch_size)
            for part, dim in zip(tensors[:n_tangents], in_dims[3:], strict=False)
        ]
        if are_many:  # in a vmap of a vmap
            tangents = [None if part is None else part.flatten(0, 1) for part in tangents]
        results = _Tangents.apply(module, True, n_tangents, *tangents, *tensors[n_tangents:])
        if are_many:
            results = _map(results, lambda part: part.unflatten(0, (info.batch_size, -1)))
        return results, _map(results, lambda part: 0)


class _Linear(torch.autograd.Function):
    @staticmethod
    @on_kernel_threads
    def forward(function: Callable[..., Any], transpose: Callable[..., Any], *tensors: Tensor) -> Any:
        return function(*tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.function, ctx.transpose, *tensors = inputs
        # What stands for the tensors where they have no tangent: of their shape and dtype, without their memory.
        ctx.zeros = [part.new_zeros(()).expand(part.shape) for part in tensors]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:  # type: ignore[override]
        return None, None, *_as_tuple(_Linear.apply(ctx.transpose, ctx.function, *grads))

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Any:
        given = [zero if part is None else part for part, zero in zip(tangents[2:], ctx.zeros, strict=True)]
        return _Linear.apply(ctx.function, ctx.transpose, *given)

    @staticmethod
    def vmap(info: Any, in_dims: Any, function: Any, transpose: Any, *tensors: Tensor) -> Any:
        slices = [
            _Linear.apply(function, transpose, *(_at(k, t, dim) for t, dim in zip(tensors, in_dims[2:], strict=True)))
            for k in range(info.batch_size)
        ]
        if isinstance(slices[0], Tensor):
            return torch.stack(slices), 0
        stacked = tuple(torch.stack(parts) for parts in zip(*slices, strict=True))
        return stacked, (0,) * len(stacked)


def _apply(function: type[torch.autograd.Function], *arguments: Any) -> Any:
    """Apply an autograd function: outside of torch.func without its look at the signature, which takes 20 us."""
    if torch._C._are_functorch_transforms_active():
        return function.apply(*arguments)
    return super(torch.autograd.Function, function).apply(*arguments)  # type: ignore[misc]


def _run_constant(module: ModuleType, arguments: Sequence[Any]) -> Any:
    with on_plain_tensors():
        return module.forward(*map(_constant, arguments))


def _constant(argument: Any) -> Any:
    """Return an argument with the plain values of its tensors."""
    if isinstance(argument, Tensor):
        return constant(argument)
    return argument._make(map(_constant, argument)) if hasattr(argument, "_make") else argument


def _arguments(ctx: Any) -> list[Any]:
    """Return what was saved of a call, in its order."""
    return [other if tensor is None else tensor for tensor, other in zip(ctx.saved_tensors, ctx.others, strict=True)]


def _at(k: int, part: Any, dim: Any) -> Any:
    """Return slice k of a part that torch.vmap maps over dimension `dim`, or the part itself."""
    if isinstance(dim, int):
        return part.select(dim, k)
    if any(inner is not None for inner in tree_leaves(dim)):
        raise refusal_of_vmap()
    return part


def _in_front(part: Tensor, dim: int | None, size: int) -> Tensor:
    """Return a tensor with what torch.vmap maps over as its first dimension, of `size`."""
    return part.expand(size, *part.shape) if dim is None else part.movedim(dim, 0)


def _as_tuple(results: Any) -> tuple[Any, ...]:
    return results if isinstance(results, tuple) else (results,)


def _map(results: Any, function: Callable[[Tensor], Any]) -> Any:
    """Apply `function` to a tensor, or to each of a tuple that is not None."""
    if isinstance(results, tuple):
        return tuple(None if part is None else function(part) for part in results)
    return function(results)


def _op_of(module: ModuleType) -> str:
    return module.__name__.split(".")[-2]


def _refusal_of_second_derivative(module: ModuleType) -> BackendError:
    return BackendError(
        f"{_op_of(module)}: the kernel has no second derivative, neither of a gradient nor of a tangent; use"
        " backend='reference', whose derivatives are PyTorch's, or differentiate once"
    )
