"""What holds for every op. One that is listed in ops.backend.OPS and in support.op_cases is tested here."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from support.comparators import assert_gradients_agree
from support.op_arguments import (
    Arguments,
    Outcome,
    get,
    map_tensors,
    split_path,
    tensors_in,
    value_and_gradients,
    waves,
    with_all,
)
from support.op_case import OpCase, Problem
from support.op_cases import CASES
from support.op_runs import (
    DIFFERENTIABLE,
    KERNELS,
    Poison,
    declared,
    every,
    every_differentiable_op,
    every_op,
    every_run,
    without,
)
from support.triangle_soups import (
    BACKENDS,
    CPU_BACKENDS,
    INTERPRETED,
    assert_all_finite,
    assert_same_bits,
    assert_same_for_any_threads,
    both_dtypes,
    every_backend,
    flatten,
    strided,
)
from torch import Tensor

from diffrender import ops
from diffrender.errors import BackendError, ShapeError
from diffrender.ops.backend import OPS


def outcome(case: OpCase, arguments: Arguments, backend: str, **more: Any) -> Outcome:
    if backend == "triton" and not INTERPRETED:
        arguments = map_tensors(arguments, lambda tensor: tensor.cuda())
    return value_and_gradients(case.op, arguments, case.leaves(arguments), backend, **more)


def assert_values_agree(case: OpCase, actual: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    tolerance = case.tolerance[0 if dtype == torch.float64 else 1]
    if not actual.is_floating_point():
        assert torch.equal(actual, expected)
    elif case.relative == "length":
        bounds = case.gradients[0 if dtype == torch.float64 else 1]
        assert_gradients_agree(actual, expected.to(actual.dtype), what="value", **bounds)
    elif case.relative == "rows":
        scale = expected.abs().amax(tuple(range(1, expected.dim())), keepdim=True).clamp_min(1)
        torch.testing.assert_close(actual / scale, expected / scale, rtol=tolerance, atol=tolerance)
    else:
        atol = 0 if case.relative == "only" else tolerance
        torch.testing.assert_close(actual.to(expected.dtype), expected, rtol=tolerance, atol=atol)


def test_every_op_has_a_case() -> None:
    assert sorted(CASES) == sorted(OPS)


def test_the_readme_lists_every_op_with_its_files() -> None:
    folder = Path(ops.__file__).parent
    row = r"^\| \[(\w+)\]\((.*?)\) .* \[notes\]\((.*?)\) \|$"
    rows = re.findall(row, (folder / "README.md").read_text(encoding="utf-8"), re.M)
    assert tuple(name for name, _, _ in rows) == OPS
    assert all((folder / path).is_file() for _, *paths in rows for path in paths)


@every("problems")
def test_problems_of_other_seeds_are_others(case: OpCase, problem: Problem) -> None:
    if case.seeds > 1:
        first, last = (problem(torch.float64, seed) for seed in (0, case.seeds - 1))
        pairs = zip(tensors_in(first), tensors_in(last), strict=True)
        assert any(not torch.equal(a, b) for (_, a), (_, b) in pairs)


@every_run(KERNELS)
@both_dtypes
def test_matches_the_reference_in_value_and_gradient(
    case: OpCase, problem: Problem, dtype: torch.dtype, backend: str, poisoned_memory: Poison
) -> None:
    # Through Triton's interpreter, which is slow, this is also the test of what memory held.
    is_slow = backend == "triton" and INTERPRETED
    for seed in range(min(case.seeds, 2) if is_slow else case.seeds):
        arguments = problem(dtype, seed)
        precise = arguments
        if case.precise:
            precise = map_tensors(arguments, lambda t: t.double() if t.is_floating_point() else t)
        with poisoned_memory() if is_slow else nullcontext():
            found = outcome(case, arguments, backend)
        expected = outcome(case, precise, "reference")
        results = [flatten(case.comparable(arguments, part.result)) for part in (found, expected)]
        results[0] = [part.cpu() for part in results[0]]
        for actual, wanted in zip(*results, strict=True):
            assert actual.numel() > 0 and actual.shape == wanted.shape
            assert actual.dtype == wanted.dtype or (case.precise and actual.dtype == dtype)
            assert_values_agree(case, actual.detach(), wanted.detach(), dtype)
        bounds = case.gradients[0 if dtype == torch.float64 else 1]
        for path, actual, wanted in zip(case.leaves(arguments), found.grads, expected.grads, strict=True):
            assert wanted is not None and bool(wanted.any()), "a gradient of zero proves nothing"
            assert_gradients_agree(actual.cpu(), wanted.to(dtype), what=path, **bounds)


@every("small")
@every_backend
def test_gradients_are_the_derivatives(case: OpCase, problem: Problem, backend: str) -> None:
    arguments = problem(torch.float64, 0)
    paths = [path for path in case.leaves(arguments) if path not in case.not_in_gradcheck]

    def function(*leaves: Tensor) -> tuple[Tensor, ...]:
        result = case.op(**with_all(arguments, dict(zip(paths, leaves, strict=True))), backend=backend)
        return tuple(part for part in flatten(result) if part.is_floating_point())

    leaves = [get(arguments, split_path(path)).clone().requires_grad_() for path in paths]
    # Through Triton's interpreter along random directions, not number by number: that takes seconds instead of minutes.
    assert torch.autograd.gradcheck(function, leaves, fast_mode=backend == "triton")


def test_every_differentiable_op_has_small_problems() -> None:
    assert all(bool(case.small) == bool(case.differentiable) for case in CASES.values())


@every_differentiable_op
def test_only_what_is_wanted_gets_a_gradient_and_it_is_the_same(case: OpCase) -> None:
    for problem, backend in ((p, b) for b in BACKENDS for p in case.calls_for(b).values()):
        arguments = problem(torch.float32, 0)
        leaves = case.leaves(arguments)
        everything = outcome(case, arguments, backend)
        for path, expected in zip(leaves, everything.grads, strict=True):
            fresh = {leaf: get(arguments, split_path(leaf)).clone().requires_grad_(leaf == path) for leaf in leaves}
            constants = {name: arguments[name].clone().requires_grad_() for name in case.constants}
            result = case.op(**with_all(arguments, fresh | constants), backend=backend)
            outputs = [part for part in flatten(result) if part.requires_grad]
            torch.autograd.backward(outputs, [waves(part.detach()) for part in outputs])
            assert [leaf for leaf in leaves if fresh[leaf].grad is not None] == [path]
            torch.testing.assert_close(fresh[path].grad, expected)
            assert not any(bool(part.grad.any()) for part in constants.values() if part.grad is not None)


@every_op
@every_backend
def test_what_has_no_gradient_gives_none(case: OpCase, backend: str) -> None:
    arguments = case.first()
    if not case.differentiable:
        arguments = map_tensors(arguments, lambda t: t.clone().requires_grad_() if t.is_floating_point() else t)
    result = case.op(**arguments, backend=backend)
    assert not any(part.requires_grad for part in flatten(result))


@every_differentiable_op
@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "reference"])
def test_a_second_derivative_is_right_or_refused(case: OpCase, backend: str) -> None:
    def second(backend: str) -> list[Tensor]:
        arguments = case.first(torch.float64)
        leaves = {path: get(arguments, split_path(path)).clone().requires_grad_() for path in case.leaves(arguments)}
        result = case.op(**with_all(arguments, leaves), backend=backend)
        total = sum((part.square().sum() for part in flatten(result) if part.is_floating_point()), torch.zeros(()))
        grads = torch.autograd.grad(total, list(leaves.values()), create_graph=True)
        return [
            torch.autograd.grad(grad.square().sum(), leaf)[0] for grad, leaf in zip(grads, leaves.values(), strict=True)
        ]

    if case.linear:
        for actual, wanted in zip(second(backend), second("reference"), strict=True):
            torch.testing.assert_close(actual, wanted)
    else:
        with pytest.raises(BackendError, match=f"{case.name}: the kernel has no second derivative"):
            second(backend)


@every("large")
@both_dtypes
def test_same_bits_for_any_number_of_threads(case: OpCase, problem: Problem, dtype: torch.dtype) -> None:
    arguments = problem(dtype, 1)
    assert_same_for_any_threads(lambda: outcome(case, arguments, "numba"))


@every_run(CPU_BACKENDS)
@both_dtypes
def test_result_does_not_depend_on_what_memory_held(
    case: OpCase, problem: Problem, dtype: torch.dtype, backend: str, poisoned_memory: Poison
) -> None:
    arguments = problem(dtype, 4)
    expected = outcome(case, arguments, backend)
    with poisoned_memory():
        found = outcome(case, arguments, backend)
    assert_same_bits(found, expected)
    assert_all_finite(found)


@every_run(BACKENDS, OpCase.calls_for)
def test_input_need_not_be_contiguous(case: OpCase, problem: Problem, backend: str) -> None:
    arguments = problem(torch.float32, 0)
    found, expected = outcome(case, map_tensors(arguments, strided), backend), outcome(case, arguments, backend)
    assert_same_bits(found, expected)


@every_run(BACKENDS, OpCase.calls_for, DIFFERENTIABLE)
def test_gradients_that_come_in_need_not_be_contiguous(case: OpCase, problem: Problem, backend: str) -> None:
    arguments = problem(torch.float32, 0)
    found = outcome(case, arguments, backend, upstream=lambda out: strided(waves(out)))
    assert_same_bits(found, outcome(case, arguments, backend))
    expanded = outcome(case, arguments, backend, upstream=lambda out: out.new_ones(()).expand(out.shape))
    assert_same_bits(expanded, outcome(case, arguments, backend, upstream=torch.ones_like))


@pytest.mark.parametrize(
    ("case", "sizes"),
    [pytest.param(case, sizes, id=f"{name}: {sizes}") for name, case in CASES.items() for sizes in case.empty],
)
@every_backend
def test_nothing_to_do(case: OpCase, sizes: tuple[str, ...], backend: str) -> None:
    arguments = case.first(torch.float64)
    nothing = with_all(arguments, without(declared(case, arguments), sizes))
    found, expected = outcome(case, nothing, backend), outcome(case, nothing, "reference")
    results = [flatten(case.comparable(nothing, part.result)) for part in (found, expected)]
    for actual, wanted in zip(*results, strict=True):
        assert actual.dtype == wanted.dtype
        torch.testing.assert_close(actual, wanted)
    for path, actual, wanted in zip(case.leaves(nothing), found.grads, expected.grads, strict=True):
        assert actual is not None and actual.shape == get(nothing, split_path(path)).shape
        torch.testing.assert_close(actual, torch.zeros_like(actual) if wanted is None else wanted)
        if not any(part.numel() for part in results[0] if part.is_floating_point()):
            assert not bool(actual.any())


@every_op
def test_every_tensor_is_declared(case: OpCase) -> None:
    for problem in case.problems.values():
        arguments = problem(torch.float32, 0)
        expected = {path for path, _ in tensors_in(arguments)} - set(case.unchecked)
        assert set(declared(case, arguments)) == expected


@every_op
def test_the_docstring_tells_the_declared_shapes(case: OpCase) -> None:
    doc = " ".join((case.op.__doc__ or "").split())
    for path, (_, declaration) in declared(case, case.first()).items():
        sizes = [
            r"\w+" if size.isdecimal() and dim == 0 else re.escape(re.sub(r"1\|(\w+)", r"\1 or 1", size))
            for dim, size in enumerate(declaration.split(": ")[-1].replace("+", " + ").split(" "))
        ]
        shape = ", ".join(sizes).replace(r", \+, ", r" \+ ")
        if "." not in path and "[" not in path:
            assert re.search(rf"\b{path}\b[^\[]*\[{shape}\]", doc), f"{path}: [{shape}]"


def mistakes_in(tensors: dict[str, tuple[Tensor, str]], path: str) -> list[tuple[Any, str]]:
    """(wrong value, message) for what can be wrong with one of the declared tensors."""
    tensor, declaration = tensors[path]
    kind, _, shape = declaration.rpartition(": ")
    sizes = [size.removeprefix("1|").split("+")[0] for size in shape.split()]
    everywhere = [
        (name, size.removeprefix("1|").split("+")[0])
        for name, (_, other) in tensors.items()
        for size in other.split(": ")[-1].split()
    ]
    found: list[tuple[Any, str]] = [
        (tensor.numpy(), f"{path} must be a torch.Tensor, got ndarray"),
        (tensor[None], f"{path} must have shape"),
    ]
    for dim, size in enumerate(sizes):
        sharing = [name for name, other in everywhere if other == size]
        if size.isdecimal() or len(sharing) > 1:
            longer = torch.cat([tensor, tensor.narrow(dim, 0, 1)], dim)
            # Where it tells the size to others, one of them is named.
            who = path if size.isdecimal() else f"({'|'.join(re.escape(name) for name in sharing)})"
            found.append((longer, f"{who} must have shape"))
    if kind in ("", "float"):
        found.append((tensor.half(), f"{path} must be float32 or float64, got torch.float16"))
    else:
        other = torch.int64 if kind != "int64" else torch.int32
        found.append((tensor.to(other), f"{path} must be {kind}, got {other}"))
    if kind == "" and sum(":" not in declared for _, declared in tensors.values()) > 1:
        found.append((tensor.double(), f"one dtype, got .*{path} torch.float64"))
    if len(tensors) > 1:
        found.append((tensor.to("meta"), f"one device, got .*{path} meta"))
    return [(value, message.replace("[", r"\[").replace("]", r"\]")) for value, message in found]


@every_op
def test_mistakes_in_tensors_are_named(case: OpCase) -> None:
    arguments = case.first()
    tensors = declared(case, arguments)
    for path in tensors:
        for wrong, message in mistakes_in(tensors, path):
            with pytest.raises(ShapeError, match=f"^{case.name}: .*{message}"):
                case.op(**with_all(arguments, {path: wrong}))


@every_op
@every_backend
def test_other_mistakes_are_named(case: OpCase, backend: str) -> None:
    for message, change in case.mistakes.items():
        with pytest.raises(ShapeError, match=f"^{case.name}: .*{re.escape(message)}"):
            case.op(**(case.first() | change), backend=backend)


@every_op
def test_no_implementation_is_swapped_in_silently(case: OpCase) -> None:
    arguments = case.first()
    with pytest.raises(BackendError, match="'numba' runs on the CPU, but the tensors are on meta"):
        case.op(**map_tensors(arguments, lambda tensor: tensor.to("meta")), backend="numba")
    with pytest.raises(BackendError, match="backend must be one of numba, triton, reference or None, got 'cuda'"):
        case.op(**arguments, backend="cuda")
