"""Calls of the ops as render() makes them, noted and made again: rows that follow the ops' signatures by themselves."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffrender.ops.backend import OPS


class Call(NamedTuple):
    """One call of the public function of an op.

    with_grad: whether autograd was recording.
    """

    op: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    with_grad: bool


@contextmanager
def recorded_calls() -> Iterator[list[Call]]:
    """Inside, every call of an op's public function, from anywhere in the package, is added to the list."""
    calls: list[Call] = []
    patched: list[tuple[dict[str, Any], str, Any]] = []

    def recording(op: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **kwargs: Any) -> Any:
            calls.append(Call(op, function, args, kwargs, torch.is_grad_enabled()))
            return function(*args, **kwargs)

        return noted

    modules = [vars(module) for name, module in list(sys.modules.items()) if name.partition(".")[0] == "diffrender"]
    for op in OPS:
        function = getattr(import_module(f"diffrender.ops.{op}"), op)
        for names in modules:
            for name in [name for name, value in names.items() if value is function]:
                patched.append((names, name, function))
                names[name] = recording(op, function)
    try:
        yield calls
    finally:
        for names, name, function in patched:
            names[name] = function


def tensors_in(value: Any) -> list[Tensor]:
    """All tensors of a tensor, tuple, list or nest of them."""
    if isinstance(value, Tensor):
        return [value]
    return [tensor for item in value for tensor in tensors_in(item)] if isinstance(value, (tuple, list)) else []


def _as_leaves(value: Any, leaves: list[Tensor]) -> Any:
    """`value` cut off its graph; what had a gradient has one again, and is added to `leaves`."""
    if isinstance(value, Tensor):
        leaf = value.detach().requires_grad_(value.requires_grad)
        leaves += [leaf] * leaf.requires_grad
        return leaf
    if isinstance(value, (tuple, list)):
        items = [_as_leaves(item, leaves) for item in value]
        return type(value)(items) if type(value) in (tuple, list) else type(value)(*items)
    return value


def replay(
    calls: Sequence[Call],
) -> tuple[Callable[[], Any], Callable[[Any], object] | None, tuple[list[Tensor], list[Tensor]]]:
    """(forward, backward, (outputs, incoming gradients)) of making `calls` again, one after the other."""
    leaves: list[Tensor] = []
    again = [(c, _as_leaves(c.args, leaves), {k: _as_leaves(v, leaves) for k, v in c.kwargs.items()}) for c in calls]

    def forward() -> list[Any]:
        results = []
        for call, args, kwargs in again:
            with torch.set_grad_enabled(call.with_grad):
                results.append(call.function(*args, **kwargs))
        return results

    outputs = tensors_in(forward())
    # Zeros would do for most kernels, but noise makes sure that none is skipped.
    incoming = [torch.randn_like(output) for output in outputs if output.requires_grad]
    frames = ([output.detach() for output in outputs], incoming)
    if not incoming:
        return forward, None, frames

    def backward(results: list[Any]) -> object:
        differentiable = [output for output in tensors_in(results) if output.requires_grad]
        return torch.autograd.grad(differentiable, leaves, incoming, allow_unused=True)

    return forward, backward, frames
