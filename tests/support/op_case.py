"""A case of an op for the contract tests, and ways to make problems of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import torch
from support.op_arguments import tensors_in
from support.triangle_soups import INTERPRETED

Arguments = dict[str, Any]
# Builds arguments by name, for a dtype and a seed.
Problem = Callable[[torch.dtype, int], Arguments]


@dataclass(frozen=True)
class OpCase:
    """Properties of an op for the contract tests. Arguments are named by path: `texels`, `segments.face`, `texels[1]`.

    op: the public function.
    problems: arguments that differ in what code they run, or in how hard they are; `seeds` of each are compared with
        the reference. interpreted: those that suffice for Triton's interpreter, which is slow; all if there are none.
    calls: those that differ in which tensors are given, by which Triton's interpreter is tested in how it is called
        (layouts of memory, which gradients are wanted), not in what it computes; the first if there are none.
    large: arguments of enough items that several threads share them.
    differentiable: the arguments it is differentiable in; constants: floats documented to get no gradient.
    linear: whether the result is linear in them, so that its derivatives have derivatives; of others there is one.
    small: float64 arguments for gradcheck of all differentiable arguments except `not_in_gradcheck`.
    empty: names of sizes that may be 0 together.
    tolerance: of values against the reference, (float64, float32); relative: of each row's largest number, and 0 near
        zero, instead of both absolute and relative.
    gradients: bounds of assert_gradients_agree, (float64, float32).
    precise: the reference computes in float64, because its own rounding errors in float32 are too large.
    comparable: maps arguments and result to what the implementations must agree on.
    unchecked: tensors among the arguments that the op does not use.
    mistakes: changes of arguments that are rejected, by message, beyond those of declared shapes and dtypes.
    """

    op: Callable[..., Any]
    problems: Mapping[str, Problem]
    large: Mapping[str, Problem]
    differentiable: tuple[str, ...] = ()
    constants: tuple[str, ...] = ()
    linear: bool = False
    small: Mapping[str, Problem] = field(default_factory=dict)
    not_in_gradcheck: tuple[str, ...] = ()
    empty: tuple[tuple[str, ...], ...] = ()
    seeds: int = 1
    tolerance: tuple[float, float] = (1e-12, 1e-5)
    relative: str = "both"
    gradients: tuple[dict[str, float], dict[str, float]] = (
        {"relative_l2_at_most": 1e-9},
        {"relative_l2_at_most": 1e-4},
    )
    precise: bool = False
    comparable: Callable[[Arguments, Any], Any] = lambda arguments, result: result
    unchecked: tuple[str, ...] = ()
    mistakes: Mapping[str, Arguments] = field(default_factory=dict)
    interpreted: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name in ops.backend.OPS."""
        return self.op.__name__

    def problems_for(self, backend: str) -> Mapping[str, Problem]:
        """Return the problems by which an implementation is tested in what it computes: all of them on a GPU."""
        return self._chosen(self.interpreted or tuple(self.problems), backend)

    def calls_for(self, backend: str) -> Mapping[str, Problem]:
        """Return the problems by which an implementation is tested in how it is called."""
        return self._chosen(self.calls or tuple(self.problems)[:1], backend)

    def _chosen(self, labels: tuple[str, ...], backend: str) -> Mapping[str, Problem]:
        is_slow = INTERPRETED and backend == "triton"
        return {label: self.problems[label] for label in labels} if is_slow else self.problems

    def first(self, dtype: torch.dtype = torch.float32) -> Arguments:
        """Return the arguments of the first problem."""
        return next(iter(self.problems.values()))(dtype, 0)

    def leaves(self, arguments: Arguments) -> list[str]:
        """Return the paths of the tensors among these arguments that the op is differentiable in."""
        return [
            path
            for path, _ in tensors_in(arguments)
            if any(path == name or path.startswith(f"{name}[") for name in self.differentiable)
        ]


def named(op: Callable[..., Any], *arguments: Any, **options: Any) -> Arguments:
    """Bind arguments to their names."""
    return dict(inspect.signature(op).bind(*arguments, **options).arguments)


def grid(
    op: Callable[..., Any], make_one: Callable[..., tuple[Any, ...] | Arguments], **of: tuple[Any, ...]
) -> dict[str, Problem]:
    """Build one problem per combination of the values in `of`, keyword arguments of `make_one`; named by the values.

    make_one: returns the op's arguments, in their order or by name.
    """

    def arguments(dtype: torch.dtype, chosen: Arguments) -> Arguments:
        made = make_one(dtype=dtype, **chosen)
        return made if isinstance(made, dict) else named(op, *made)

    def problem(chosen: Arguments) -> Problem:
        return lambda dtype, seed: arguments(dtype, chosen)

    combinations = [dict(zip(of, values, strict=True)) for values in product(*of.values())]
    return {" ".join(str(value) for value in chosen.values()): problem(chosen) for chosen in combinations}


def seeded(names: tuple[str, ...], problem: Callable[[str, torch.dtype, int], Arguments]) -> dict[str, Problem]:
    """Build one problem per name."""
    return {name: lambda dtype, seed, name=name: problem(name, dtype, seed) for name in names}
