"""custom_gradient: a function with a derivative of its own, in reverse and forward mode, also in torch.func."""

from __future__ import annotations

import dis
import functools
import inspect
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from diffrender.derivatives import constant, has_derivative, tensors_within
from diffrender.errors import BackendError, ConfigError, DiffrenderError, ProgramError, ShapeError

Rule: TypeAlias = Callable[..., Any]
# Of rules, as a share of their largest number: what they may differ by from linear ones.
NOT_LINEAR = 1e-3


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
        None for one without a derivative. It returns one of the shape of `value`, or a tuple of those, None for results
        without a derivative, such as indices.

    One of them is enough if it is made of PyTorch operations: the other is its transpose. Rules are differentiated for
    second derivatives. Under torch.vmap the function is called once per row.
    Raises ConfigError without a rule; ShapeError if a rule returns what has not the shape of its argument or result, or
    a derivative is asked for of complex numbers, or of a tensor within a list, dict, module or other object, or that
    the function closes over or finds in its module; ProgramError if the function does not return tensors, a rule fails
    or is not linear (it is tried once, at the first derivative), or a missing rule cannot be found from the other.
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
            rules.refuse_nests(arguments)
            rules.is_due = not rules.is_tried and _have_derivative(arguments)
            return _Custom.apply(rules, *arguments)

        return call

    return decorate if function is None else decorate(function)


@dataclass(eq=False)
class _Rules:
    """A function and its derivatives, each as given or as the transpose of the other.

    is_tried: whether the rules were tried; is_due: whether they will be when the function is called next.
    """

    function: Callable[..., Any]
    vjp: Rule | None
    jvp: Rule | None
    is_tried: bool = False
    is_due: bool = False

    @property
    def name(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)

    def refuse_nests(self, arguments: Sequence[Any]) -> None:
        """Raise ShapeError if a tensor that needs a derivative is within an argument: autograd would not see it.

        Or in what the function is bound to, closes over or finds in its module; of other objects there it may use any
        part.
        """
        named = [
            (f"argument {number} of {self.name} is", each)
            for number, each in enumerate(arguments, 1)
            if not isinstance(each, Tensor)
        ]
        for what, holder in [*named, *self._outer()]:
            # Of rows under torch.vmap its own rule tells.
            within = [each for each in tensors_within(holder) if not torch._C._functorch.is_batchedtensor(each)]
            # Tangents are there without gradients as well.
            if any(has_derivative(each if torch.is_grad_enabled() else each.detach()) for each in within):
                kind = "" if isinstance(holder, Tensor) else f" a {type(holder).__name__} that holds"
                raise ShapeError(
                    f"custom_gradient: {what}{kind} a tensor whose derivative is needed, and would"
                    " get none; give each tensor as an argument of its own, or say that it needs none: `.detach()` of a"
                    " tensor, `.requires_grad_(False)` of a module"
                )

    def _outer(self) -> Iterator[tuple[str, Any]]:
        """Yield what the function uses without taking it as an argument, each with words before it."""
        kinds = Tensor | torch.nn.Module | list | tuple | Mapping
        if isinstance(self.function, MethodType):
            yield f"{self.name} is bound to", self.function.__self__
        elif not isinstance(self.function, FunctionType | BuiltinFunctionType):
            yield f"{self.name} is", self.function
        for cell in getattr(self.function, "__closure__", None) or ():
            if _is_filled(cell) and isinstance(cell.cell_contents, kinds):
                yield f"{self.name} closes over", cell.cell_contents
        for each in (getattr(self.function, "__globals__", {}).get(name) for name in self._global_names):
            if isinstance(each, kinds):
                yield f"{self.name} uses of its module", each

    @functools.cached_property
    def _global_names(self) -> set[str]:
        code = getattr(self.function, "__code__", None)
        return {each.argval for each in dis.get_instructions(code) if each.opname == "LOAD_GLOBAL"} if code else set()

    def value(self, arguments: Sequence[Any]) -> Any:
        found = self.function(*arguments)
        parts = _parts(found)
        for part in parts:
            if not isinstance(part, Tensor):
                is_array = type(part).__module__ == "numpy"
                raise ProgramError(
                    f"custom_gradient: {self.name} must return a tensor or a tuple of tensors, got"
                    f" {type(part).__name__}"
                    + "; programs.bridges.from_numpy takes functions of NumPy, with their rules"
                    * is_array
                )
        # An argument, a view of one, or a tensor that the function keeps would become part of the graph itself.
        own = tuple(part.detach().clone() for part in parts)
        value = own if isinstance(found, tuple) else own[0]
        if self.is_due:
            self.is_tried, self.is_due = True, False
            self._try_rules(value, arguments)
        return value

    def _try_rules(self, value: Any, arguments: Sequence[Any]) -> None:
        """Raise ProgramError if a rule is not linear: for minus a gradient or tangent it must return minus its own."""
        # Without derivatives: a rule may be of a function with rules of its own, and so on without end.
        try:
            arguments = [constant(each) if isinstance(each, Tensor) else each for each in arguments]
        except BackendError:  # rows under torch.vmap
            self.is_tried = False
            return
        parts = _parts(value)
        grads = tuple(_waves(part) if _is_real(part) else torch.zeros_like(part) for part in parts)
        tangents = tuple(_waves(each) if _is_real(each) else None for each in arguments)
        for kind, rule, given in (("vjp", self.vjp, grads), ("jvp", self.jvp, tangents)):

            def numbers(sign: int, kind: str = kind, rule: Rule | None = rule, given: Any = given) -> Tensor:
                rows = tuple(None if row is None else sign * row for row in given)
                first = rows[0] if kind == "vjp" and not isinstance(value, tuple) else rows
                found = [] if rule is None else _parts(rule(first, value, *arguments))
                return torch.cat([torch.zeros(0), *(row.reshape(-1).double().cpu() for row in found if _is_real(row))])

            try:
                with torch.no_grad(), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    once, again, minus = numbers(1), numbers(1), numbers(-1)
                    apart = (once + minus).abs() > NOT_LINEAR * torch.maximum(once.abs(), minus.abs())
            except Exception:  # told with its place where the rule is used
                continue
            if torch.equal(once, again) and bool(apart[torch.isfinite(once + minus)].any()):
                of = "`grad`" if kind == "vjp" else "`tangents`"
                raise ProgramError(
                    f"custom_gradient: the {kind} of {self.name} is not linear in {of}, its first argument: what it"
                    f" returns must change its sign with it; multiply the derivative by {of}"
                )

    def gradients(self, grads: Sequence[Tensor | None], value: Any, arguments: Sequence[Any]) -> list[Tensor | None]:
        """Return one gradient per argument, for the gradients of the parts of the value; None is 0."""
        parts = _parts(value)
        self._refuse_complex(*(part for part, grad in zip(parts, grads, strict=True) if grad is not None))
        grads = tuple(torch.zeros_like(part) if g is None else g for g, part in zip(grads, parts, strict=True))
        if self.vjp is None:
            moving = [torch.zeros_like(each) for each in arguments if _is_real(each)]

            def push(*tangents: Tensor) -> tuple[Tensor, ...]:
                given = iter(tangents)
                rows = [next(given) if _is_real(each) else None for each in arguments]
                return _only_real(parts, self.tangents(rows, value, arguments))

            found = iter(self._transposed("vjp", push, moving, _only_real(parts, grads)))
            return [next(found) if _is_real(each) else None for each in arguments]
        rows = _parts(self.vjp(grads if isinstance(value, tuple) else grads[0], value, *arguments))
        if len(rows) != len(arguments):
            raise ShapeError(
                f"custom_gradient: the vjp of {self.name} must return one gradient per argument, {len(arguments)}, got"
                f" {len(rows)}"
            )
        return [
            None if row is None else self._checked("vjp", f"gradient {place}", row, argument)
            for place, (row, argument) in enumerate(zip(rows, arguments, strict=True))
        ]

    def tangents(self, tangents: Sequence[Tensor | None], value: Any, arguments: Sequence[Any]) -> list[Tensor | None]:
        """Return one tangent per part of the value, None for those without, for one tangent per argument; None is 0."""
        parts = _parts(value)
        moving = (each for each, tangent in zip(arguments, tangents, strict=True) if tangent is not None)
        self._refuse_complex(*moving, *parts)
        tangents = tuple(
            torch.zeros_like(each) if tangent is None and _is_real(each) else tangent
            for tangent, each in zip(tangents, arguments, strict=True)
        )
        if self.jvp is None:
            of_real = [torch.zeros_like(part) for part in parts if _is_real(part)]

            def pull(*grads: Tensor) -> tuple[Tensor, ...]:
                given = iter(grads)
                rows = self.gradients([next(given) if _is_real(each) else None for each in parts], value, arguments)
                return _only_real(arguments, rows)

            found = iter(self._transposed("jvp", pull, of_real, _only_real(arguments, tangents)) if of_real else ())
            return [next(found) if _is_real(part) else None for part in parts]
        rows = _parts(self.jvp(tangents, value, *arguments))
        if len(rows) != len(parts):
            raise ShapeError(
                f"custom_gradient: the jvp of {self.name} must return one tangent per result, {len(parts)}, got"
                f" {len(rows)}"
            )
        return [
            self._checked("jvp", f"tangent {place}", row, part) if _is_real(part) else None
            for place, (row, part) in enumerate(zip(rows, parts, strict=True))
        ]

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

    def _refuse_complex(self, *tensors: Any) -> None:
        """Raise ShapeError if one of what has a derivative is complex."""
        for each in tensors:
            if isinstance(each, Tensor) and each.is_complex():
                raise ShapeError(
                    f"custom_gradient: {self.name} has no derivative of complex numbers, got {each.dtype}; let it take"
                    " and return their real and imaginary parts (torch.view_as_real, torch.view_as_complex)"
                )

    def _checked(self, rule: str, what: str, row: Any, like: Any) -> Any:
        """Return a gradient or tangent in the dtype of what it is of; raise ShapeError if it has another shape."""
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
        kept = [*arguments, *_parts(output)]
        ctx.n_arguments = len(arguments)
        # Tensors must be saved in autograd's way; the others keep their positions.
        ctx.others = [None if isinstance(each, Tensor) else each for each in kept]
        tensors = [each if isinstance(each, Tensor) else None for each in kept]
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:  # type: ignore[override]
        value, arguments = _Custom._kept(ctx)
        ctx.rules._refuse_complex(
            *(each for each, needed in zip(arguments, ctx.needs_input_grad[1:], strict=True) if needed)
        )
        with _told_of(ctx.rules, "vjp"):
            return None, *ctx.rules.gradients(grads, value, arguments)

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Tensor | None) -> Any:
        value, arguments = _Custom._kept(ctx)
        with _told_of(ctx.rules, "jvp"):
            found = ctx.rules.tangents(tangents, value, arguments)
        return tuple(found) if ctx.is_tuple else found[0]

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


@contextmanager
def _told_of(rules: _Rules, mode: str) -> Iterator[None]:
    """Raise ProgramError, with file and line, if a rule fails."""
    try:
        yield
    except DiffrenderError:
        raise
    except Exception as error:
        kind = mode if getattr(rules, mode) is not None else {"vjp": "jvp", "jvp": "vjp"}[mode]
        file = getattr(getattr(getattr(rules, kind), "__code__", None), "co_filename", None)
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        place = f"{file}, line {lines[-1]}: " if lines else ""
        raise ProgramError(
            f"{place}custom_gradient: the {kind} of {rules.name} failed: {type(error).__name__}: {error}"
        ) from error


def _waves(like: Tensor) -> Tensor:
    """Return numbers of both signs, of the shape of a tensor."""
    numbers = torch.arange(1, like.numel() + 1, dtype=torch.float64, device=like.device).cos()
    return numbers.view(like.shape).to(like.dtype)


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _have_derivative(arguments: Sequence[Any]) -> bool:
    """Return whether one has a derivative; no for rows under torch.vmap, which PyTorch cannot ask."""
    try:
        return any(map(has_derivative, filter(_is_real, arguments)))
    except RuntimeError:
        return False


def _is_real(each: Any) -> bool:
    """Return whether an argument or a result may have a derivative."""
    return isinstance(each, Tensor) and each.dtype.is_floating_point


def _only_real(like: Sequence[Any], rows: Sequence[Any]) -> tuple[Tensor, ...]:
    """Return the rows of what may have a derivative, 0 for None."""
    pairs = zip(like, rows, strict=True)
    return tuple(torch.zeros_like(each) if row is None else row for each, row in pairs if _is_real(each))


def _parts(each: Any) -> tuple[Any, ...]:
    return each if isinstance(each, tuple) else (each,)
