"""Arguments of ops by path (`texels`, `segments.face`, `texels[1]`): reading, replacing and differentiating them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from support.triangle_soups import flatten
from torch import Tensor

from diffrender.geometry.topology import Topology

Arguments = dict[str, Any]


def split_path(path: str) -> list[str]:
    """Split a path into its steps: `texels[1]` into texels, 1."""
    return path.replace("[", ".").replace("]", "").split(".")


def get(value: Any, steps: Sequence[str]) -> Any:
    """Return the value that the steps lead to."""
    for step in steps:
        if isinstance(value, dict):
            value = value[step]
        else:
            value = value[int(step)] if step.isdecimal() else getattr(value, step)
    return value


def replace_at(value: Any, steps: Sequence[str], new: Any) -> Any:
    """Return a copy of nested arguments with `new` at the end of the steps."""
    if not steps:
        return new
    step, inner = steps[0], replace_at(get(value, steps[:1]), steps[1:], new)
    if isinstance(value, dict):
        return value | {step: inner}
    if isinstance(value, Topology):
        return Topology(inner)
    if isinstance(value, list):
        return [inner if index == int(step) else part for index, part in enumerate(value)]
    return value._replace(**{step: inner})


def with_all(arguments: Arguments, new: dict[str, Any]) -> Arguments:
    """Return `arguments` with several of them replaced, by path."""
    for path, value in new.items():
        arguments = replace_at(arguments, split_path(path), value)
    return arguments


def tensors_in(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield (path, tensor) for all tensors in nested arguments."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from tensors_in(part, name)
    elif isinstance(value, Topology):
        yield f"{path}.faces", value.faces
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from tensors_in(part, f"{path}[{index}]")
    elif hasattr(value, "_fields"):
        for name in value._fields:
            yield from tensors_in(getattr(value, name), f"{path}.{name}")


def map_tensors(arguments: Arguments, function: Callable[[Tensor], Tensor]) -> Arguments:
    """Return `arguments` with `function` applied to each tensor."""
    return with_all(arguments, {path: function(tensor) for path, tensor in tensors_in(arguments)})


class Outcome(NamedTuple):
    """The result of an op, and the gradient of a weighted sum of it with respect to each leaf."""

    result: Any
    grads: list[Tensor | None]


def waves(tensor: Tensor) -> Tensor:
    """Return weights between -1 and 1 for the entries of a tensor."""
    return torch.linspace(-1, 2, tensor.numel(), dtype=tensor.dtype).reshape(tensor.shape).cos().to(tensor.device)


def value_and_gradients(
    op: Callable[..., Any],
    arguments: Arguments,
    leaves: Sequence[str],
    backend: str,
    upstream: Callable[[Tensor], Tensor] = waves,
) -> Outcome:
    """Return the result of an op, and gradients of the sum of its float outputs weighted by `upstream`."""
    tensors = [get(arguments, split_path(path)) for path in leaves]
    # Copies with the same layout: a strided leaf remains strided.
    fresh = [tensor.detach().as_strided(tensor.shape, tensor.stride()).requires_grad_() for tensor in tensors]
    result = op(**with_all(arguments, dict(zip(leaves, fresh, strict=True))), backend=backend)
    grads: list[Tensor | None] = []
    if leaves:
        outputs = [part for part in flatten(result) if part.is_floating_point()]
        grads = list(
            torch.autograd.grad(outputs, fresh, [upstream(part.detach()) for part in outputs], allow_unused=True)
        )
    return Outcome(result, grads)


def value_and_tangents(
    op: Callable[..., Any], arguments: Arguments, tangents: dict[str, Tensor], backend: str
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the float outputs of an op, and K tangents of each [K, ...] from those of some arguments, by path."""
    paths = list(tangents)

    def outputs(*leaves: Tensor) -> tuple[Tensor, ...]:
        result = op(**with_all(arguments, dict(zip(paths, leaves, strict=True))), backend=backend)
        return tuple(part for part in flatten(result) if part.is_floating_point())

    def along(*chosen: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        return torch.func.jvp(outputs, tuple(get(arguments, split_path(path)) for path in paths), chosen)

    values, found = torch.func.vmap(along, out_dims=(None, 0))(*tangents.values())
    return list(values), list(found)


def some_tangents(arguments: Arguments, paths: Sequence[str], count: int = 2) -> dict[str, Tensor]:
    """Return `count` random tangents [count, ...] of each of some arguments, by path."""
    generator = torch.Generator().manual_seed(7)
    leaves = {path: get(arguments, split_path(path)) for path in paths}
    return {
        path: torch.randn(count, *leaf.shape, generator=generator, dtype=torch.float64).to(leaf.dtype)
        for path, leaf in leaves.items()
    }
