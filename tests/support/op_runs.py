"""What the contract tests of the ops run over: cases, problems and backends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import import_module

import pytest
import torch
from support.op_arguments import Arguments
from support.op_case import OpCase, Problem
from support.op_cases import CASES
from support.triangle_soups import BACKENDS, INTERPRETED
from torch import Tensor

Poison = Callable[[], AbstractContextManager[None]]
ProblemsOf = Callable[[OpCase, str], Mapping[str, Problem]]
DIFFERENTIABLE = [case for case in CASES.values() if case.differentiable]
KERNELS = [name for name in BACKENDS if name != "reference"]
if not INTERPRETED and torch.cuda.is_available():
    KERNELS.append("triton")
every_op = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
every_differentiable_op = pytest.mark.parametrize("case", DIFFERENTIABLE, ids=[case.name for case in DIFFERENTIABLE])


def every(kind: str, of: Sequence[OpCase] = tuple(CASES.values())) -> pytest.MarkDecorator:
    """Each of the `problems`, `large` or `small` of ops."""
    found = [
        pytest.param(case, problem, id=f"{case.name}: {label}")
        for case in of
        for label, problem in getattr(case, kind).items()
    ]
    return pytest.mark.parametrize(("case", "problem"), found)


def every_run(
    backends: Sequence[str], problems_of: ProblemsOf = OpCase.problems_for, of: Sequence[OpCase] = tuple(CASES.values())
) -> pytest.MarkDecorator:
    """Each of the problems of ops with each of the backends."""
    found = [
        pytest.param(case, problem, backend, id=f"{case.name}: {label}-{backend}")
        for case in of
        for backend in backends
        for label, problem in problems_of(case, backend).items()
    ]
    return pytest.mark.parametrize(("case", "problem", "backend"), found)


def declared(case: OpCase, arguments: Arguments) -> dict[str, tuple[Tensor, str]]:
    """What the op declares of these arguments to check_tensors."""
    found: dict[str, tuple[Tensor, str]] = {}
    with pytest.MonkeyPatch.context() as patch:
        module = import_module(f"diffrender.ops.{case.name}.op")
        patch.setattr(module, "check_tensors", lambda function, /, **tensors: found.update(tensors))
        case.op(**arguments, backend="reference")
    return found


def without(tensors: dict[str, tuple[Tensor, str]], sizes: tuple[str, ...]) -> dict[str, Tensor]:
    """The declared tensors that have any of these sizes, with 0 instead of it."""
    known = {
        name: size
        for tensor, declaration in tensors.values()
        for name, size in zip(declaration.split(": ")[-1].split(), tensor.shape, strict=True)
    }
    found = {}
    for path, (tensor, declaration) in tensors.items():
        shape = declaration.split(": ")[-1].split()
        for dim, text in enumerate(shape):
            name, _, more = text.removeprefix("1|").partition("+")
            if name in sizes and tensor.shape[dim] == known[name] + int(more or 0):
                tensor = tensor.narrow(dim, 0, int(more or 0))
        found[path] = tensor
    return found
