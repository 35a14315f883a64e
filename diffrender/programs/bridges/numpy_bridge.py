"""Functions of PyTorch on NumPy's arrays, and of NumPy on tensors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from diffrender.errors import BackendError, ShapeError
from diffrender.programs.custom_gradient import custom_gradient


def to_numpy(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of tensors as one of NumPy's arrays, without derivatives.

    Arrays among its arguments, or in dicts, lists and tuples of them, arrive as tensors of their dtype that share their
    memory, and tensors that it returns become arrays. `scipy_problem` has derivatives.
    """

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        given, by_name = tree_map(
            lambda each: tensor_of(each) if isinstance(each, np.ndarray) else each, (arguments, named)
        )
        with torch.no_grad():
            return tree_map(array_of, function(*given, **by_name))

    return call


def from_numpy(
    function: Callable[..., Any], *, vjp: Callable[..., Any] | None = None, jvp: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """Return a function of NumPy's arrays as one of tensors, with derivatives that rules in NumPy compute.

        root = bridges.from_numpy(np.sqrt, vjp=lambda grad, value, x: grad / (2 * value))

    function: returns an array or a tuple of arrays. vjp, jvp: as of `custom_gradient`, but on arrays; the one serves
        reverse mode, the other forward mode. Derivatives without a rule, and second ones, are refused.
    """
    name = getattr(function, "__name__", type(function).__name__)
    if vjp is None and jvp is None:
        return _opaque(function, name)

    def pull(grads: Any, value: Any, *arguments: Any) -> tuple[Tensor | None, ...]:
        assert vjp is not None
        kept = [place for place, each in enumerate(arguments) if isinstance(each, Tensor)]

        def of_kept(grads: Any, value: Any, *arrays: Any) -> tuple[Any, ...]:
            rows = _tuple(vjp(grads, value, *arrays))
            if len(rows) != len(arguments):
                raise ShapeError(
                    f"bridges.from_numpy: the vjp of {name} must return one gradient per argument, {len(arguments)},"
                    f" got {len(rows)}"
                )
            return tuple(np.zeros(np.shape(arrays[k])) if rows[k] is None else rows[k] for k in kept)

        found = dict(zip(kept, _call_rule(of_kept, f"the vjp of {name}", grads, value, arguments), strict=True))
        return tuple(found.get(place) for place in range(len(arguments)))

    def push(tangents: Any, value: Any, *arguments: Any) -> Any:
        assert jvp is not None
        return _call_rule(jvp, f"the jvp of {name}", tangents, value, arguments)

    rules = {"vjp": None if vjp is None else pull, "jvp": None if jvp is None else push}
    return custom_gradient(_on_arrays(function), **rules)


def tensor_of(array: Any) -> Tensor:
    """Return an array as a tensor that shares its memory, unless it is read-only or of a layout that PyTorch lacks."""
    array = np.asarray(array, order="C")
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def array_of(each: Any) -> Any:
    """Return a tensor as an array that shares its memory, if it is on the CPU; anything else as it is."""
    return each.detach().cpu().numpy() if isinstance(each, Tensor) else each


def _call_rule(rule: Callable[..., Any], name: str, given: Any, value: Any, arguments: tuple[Any, ...]) -> Any:
    """Call a rule on tensors, which torch.func may have wrapped, and may map over."""
    of_given, of_value = _tuple(given), _tuple(value)
    split = len(of_given) + len(of_value)

    def run(*leaves: Any) -> Any:
        firsts, seconds = leaves[: len(of_given)], leaves[len(of_given) : split]
        return rule(
            firsts if isinstance(given, tuple) else firsts[0],
            seconds if isinstance(value, tuple) else seconds[0],
            *leaves[split:],
        )

    return _opaque(run, name)(*of_given, *of_value, *arguments)


def _opaque(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return a function of arrays as one of tensors that refuses to be differentiated."""

    def refuse(*_: Any) -> Any:
        raise BackendError(
            f"bridges.from_numpy: {name} has no derivative; give the function a rule, vjp=... or jvp=..."
        )

    return custom_gradient(_on_arrays(function), vjp=refuse, jvp=refuse)


def _on_arrays(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        found = function(*map(array_of, arguments))
        return tuple(map(tensor_of, found)) if isinstance(found, tuple) else tensor_of(found)

    return call


def _tuple(each: Any) -> tuple[Any, ...]:
    return each if isinstance(each, tuple) else (each,)
