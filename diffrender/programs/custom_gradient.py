"""custom_gradient: a function with a derivative of its own, in reverse and forward mode, also in torch.func."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from diffrender.errors import ConfigError, ProgramError, ShapeError

Rule: TypeAlias = Callable[..., Any]


def custom_gradient(
    function: Callable[..., Any] | None = None, *, vjp: Rule | None = None, jvp: Rule | None = None
) -> Any:
    """Give a function of tensors the derivative that a rule says, in place of the one that PyTorch would find.

        @custom_gradient(vjp=lambda grad, value, x: grad / (2 * value))
        def root(x):
            return torch.from_numpy(numpy.sqrt(x.numpy()))

    The function returns a tensor or a tuple of tensors. No derivative is taken of what it does, which may be NumPy. Its
    arguments are tensors and anything else; they may be given by name.
    vjp(grad, value, *arguments): the gradient of reverse mode, linear in `grad`: for the gradient with respect to what
        the function returned, `value` (both tuples if that is one), it returns the gradient with respect to each
        argument, None for one without any; of a function of one argument, without a tuple.
    jvp(tangents, value, *arguments): the tangent of forward mode, linear in `tangents`, a tuple with one per argument,
        None for one without a derivative. It returns one of the shape of `value`, or a tuple of those.

    One of them is enough if it is made of PyTorch operations: the other is its transpose. Rules are differentiated for
    second derivatives. Under torch.vmap the function is called once per row.
    Raises ConfigError without a rule; ShapeError if a rule returns what has not the shape of its argument or result;
    ProgramError if the function does not return tensors, or a missing rule cannot be found from the other.
    """
    if vjp is None and jvp is None:
        raise ConfigError(
            "custom_gradient: give a rule, @custom_gradient(vjp=...) or (jvp=...), or leave the decorator out"
        )

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        rules = _Rules(function, vjp, jvp)
        # Functions that are not written in Python, such as NumPy's, have more arguments than anybody gives.
        signature = inspect.signature(function) if inspect.isfunction(inspect.unwrap(function)) else None

        @functools.wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            if signature is not None:
                bound = signature.bind(*arguments, **named)
                bound.apply_defaults()
                arguments, named = bound.args, bound.kwargs
            if named:
                raise ConfigError(f"custom_gradient: {rules.name} has arguments that can be given by name alone")
            return _Custom.apply(rules, *arguments)

        return call

    return decorate if function is None else decorate(function)


@dataclass(frozen=True, eq=False)
class _Rules:
    """A function and its derivatives, each as given or as the transpose of the other."""

    function: Callable[..., Any]
    vjp: Rule | None
    jvp: Rule | None

    @property
    def name(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)

    def value(self, arguments: Sequence[Any]) -> Any:
        found = self.function(*arguments)
        parts = found if isinstance(found, tuple) else (found,)
        for part in parts:
            if not isinstance(part, Tensor):
                raise ProgramError(
                    f"custom_gradient: {self.name} must return a tensor or a tuple of tensors, got"
                    f" {type(part).__name__}"
                )
        # An argument, a view of one, or a tensor that the function keeps would become part of the graph itself.
        own = tuple(part.detach().clone() for part in parts)
        return own if isinstance(found, tuple) else own[0]

    def gradients(self, grads: Any, value: Any, arguments: Sequence[Any]) -> tuple[Tensor | None, ...]:
        """Return one gradient per argument, for the gradient of the value, or one per part of it."""
        if self.vjp is None:
            like = [torch.zeros_like(each) if _is_real(each) else None for each in arguments]

            def push(*tangents: Tensor) -> Any:
                given = iter(tangents)
                return self.tangents(tuple(None if each is None else next(given) for each in like), value, arguments)

            found = iter(self._transposed("vjp", push, [each for each in like if each is not None], grads))
            return tuple(None if each is None else next(found) for each in like)
        found = self.vjp(grads, value, *arguments)
        rows = found if isinstance(found, tuple) else (found,)
        if len(rows) != len(arguments):
            raise ShapeError(
                f"custom_gradient: the vjp of {self.name} must return one gradient per argument, {len(arguments)}, got"
                f" {len(rows)}"
            )
        return tuple(
            self._checked("vjp", f"gradient {place}", row, argument)
            for place, (row, argument) in enumerate(zip(rows, arguments, strict=True))
        )

    def tangents(self, tangents: tuple[Any, ...], value: Any, arguments: Sequence[Any]) -> Any:
        """Return the tangent of the value, or one per part of it, for one tangent per argument."""
        if self.jvp is None:
            parts = value if isinstance(value, tuple) else (value,)
            is_real = [_is_real(each) for each in arguments]

            def pull(*grads: Tensor) -> Any:
                found = self.gradients(grads if isinstance(value, tuple) else grads[0], value, arguments)
                return tuple(
                    torch.zeros_like(argument) if row is None else row
                    for row, argument, real in zip(found, arguments, is_real, strict=True)
                    if real
                )

            given = tuple(each for each, real in zip(tangents, is_real, strict=True) if real)
            found = self._transposed("jvp", pull, [torch.zeros_like(each) for each in parts], given)
            return found if isinstance(value, tuple) else found[0]
        found = self.jvp(tangents, value, *arguments)
        rows, parts = (each if isinstance(each, tuple) else (each,) for each in (found, value))
        if len(rows) != len(parts):
            raise ShapeError(
                f"custom_gradient: the jvp of {self.name} must return one tangent per result, {len(parts)}, got"
                f" {len(rows)}"
            )
        checked = tuple(
            self._checked("jvp", f"tangent {place}", row, part)
            for place, (row, part) in enumerate(zip(rows, parts, strict=True))
        )
        return checked if isinstance(value, tuple) else checked[0]

    def _transposed(self, wanted: str, linear: Rule, zeros: list[Tensor], rows: Any) -> tuple[Tensor, ...]:
        """Return the transpose of the `linear` function of as many tensors as `zeros`, for what it returns one of."""
        try:
            _, transpose = torch.func.vjp(linear, *zeros)
            return transpose(rows)
        except RuntimeError as error:
            if isinstance(error, ProgramError):
                raise
            given = "jvp" if wanted == "vjp" else "vjp"
            raise ProgramError(
                f"custom_gradient: {self.name} has no {wanted}, and it cannot be found from its {given}, which must be"
                f" made of PyTorch operations for that ({error}); give {wanted}=..."
            ) from error

    def _checked(self, rule: str, what: str, row: Any, like: Any) -> Any:
        """Return a gradient or tangent in the dtype of what it is of; raise ShapeError if it has another shape."""
        if row is None and rule == "vjp":
            return None
        if not isinstance(row, Tensor) or not isinstance(like, Tensor) or row.shape != like.shape:
            wanted = f"a tensor of shape {list(like.shape)}" if isinstance(like, Tensor) else "None: it is no tensor"
            got = f"shape {list(row.shape)}" if isinstance(row, Tensor) else type(row).__name__
            raise ShapeError(f"custom_gradient: {what} of the {rule} of {self.name} must be {wanted}, got {got}")
        return row.to(like.dtype)


class _Custom(torch.autograd.Function):
    @staticmethod
    def forward(rules: _Rules, *arguments: Any) -> Any:
        return rules.value(arguments)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.rules, *arguments = inputs
        ctx.is_tuple = isinstance(output, tuple)
        kept = [*arguments, *(output if ctx.is_tuple else (output,))]
        ctx.n_arguments = len(arguments)
        # Tensors must be saved in autograd's way; the others keep their positions.
        ctx.others = [None if isinstance(each, Tensor) else each for each in kept]
        tensors = [each if isinstance(each, Tensor) else None for each in kept]
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:  # type: ignore[override]
        value, arguments = _Custom._kept(ctx)
        return None, *ctx.rules.gradients(grads if ctx.is_tuple else grads[0], value, arguments)

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Tensor | None) -> Any:
        value, arguments = _Custom._kept(ctx)
        return ctx.rules.tangents(tangents, value, arguments)

    @staticmethod
    def vmap(info: Any, in_dims: Any, rules: _Rules, *arguments: Any) -> Any:
        rows = []
        for k in range(info.batch_size):
            row = []
            for each, dim in zip(arguments, in_dims[1:], strict=True):
                if not isinstance(each, Tensor) and any(inner is not None for inner in tree_leaves(dim)):
                    raise ShapeError(f"custom_gradient: {rules.name} under torch.vmap takes tensors, not nests of them")
                row.append(each.select(dim, k) if isinstance(dim, int) else each)
            rows.append(_Custom.apply(rules, *row))
        if isinstance(rows[0], tuple):
            return tuple(torch.stack(parts) for parts in zip(*rows, strict=True)), (0,) * len(rows[0])
        return torch.stack(rows), 0

    @staticmethod
    def _kept(ctx: Any) -> tuple[Any, list[Any]]:
        """Return what the function returned, and its arguments."""
        kept = [other if saved is None else saved for saved, other in zip(ctx.saved_tensors, ctx.others, strict=True)]
        value = tuple(kept[ctx.n_arguments :])
        return (value if ctx.is_tuple else value[0]), kept[: ctx.n_arguments]


def _is_real(argument: Any) -> bool:
    """Return whether an argument may have a derivative."""
    return isinstance(argument, Tensor) and argument.dtype.is_floating_point
