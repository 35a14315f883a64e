"""Forward mode of every op: tangents by its kernels, against the reference's and against gradients."""

from __future__ import annotations

import pytest
import torch
from support.comparators import assert_gradients_agree
from support.op_arguments import (
    get,
    map_tensors,
    some_tangents,
    split_path,
    tensors_in,
    value_and_tangents,
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
from torch.autograd import forward_ad

from diffrender.errors import BackendError

ON_THE_CPU = [name for name in BACKENDS if name != "reference"]
every_kernel = pytest.mark.parametrize("backend", ON_THE_CPU)


def outputs_of(case: OpCase, arguments: dict, backend: str) -> list[Tensor]:
    return [part for part in flatten(case.op(**arguments, backend=backend)) if part.is_floating_point()]


@every_run(KERNELS, of=DIFFERENTIABLE)
@both_dtypes
def test_tangents_are_those_of_the_reference(
    case: OpCase, problem: Problem, dtype: torch.dtype, backend: str, poisoned_memory: Poison
) -> None:
    arguments = problem(dtype, 0)
    tangents = some_tangents(arguments, case.leaves(arguments))
    precise, of_precise = arguments, tangents
    if case.precise:
        precise = map_tensors(arguments, lambda t: t.double() if t.is_floating_point() else t)
        of_precise = {path: tangent.double() for path, tangent in tangents.items()}
    _, expected = value_and_tangents(case.op, precise, of_precise, "reference")
    if backend == "triton" and not INTERPRETED:
        arguments = map_tensors(arguments, lambda tensor: tensor.cuda())
        tangents = {path: tangent.cuda() for path, tangent in tangents.items()}
    if backend == "numba":
        value_and_tangents(case.op, arguments, tangents, backend)  # what compiles must not meet poison
    with poisoned_memory():
        values, found = value_and_tangents(case.op, arguments, tangents, backend)
    assert_same_bits(values, outputs_of(case, arguments, backend))
    bounds = case.gradients[0 if dtype == torch.float64 else 1]
    for actual, wanted in zip(found, expected, strict=True):
        for one, wanted_one in zip(actual, wanted, strict=True):
            assert bool(wanted_one.any()), "a tangent of zero proves nothing"
            assert_gradients_agree(one.cpu(), wanted_one.to(dtype), what="tangent", **bounds)


@every_run(BACKENDS, of=DIFFERENTIABLE)
def test_tangents_are_the_transpose_of_gradients(case: OpCase, problem: Problem, backend: str) -> None:
    arguments = problem(torch.float64, 0)
    tangents = some_tangents(arguments, case.leaves(arguments), 1)
    _, found = value_and_tangents(case.op, arguments, tangents, backend)
    leaves = {path: get(arguments, split_path(path)).clone().requires_grad_() for path in tangents}
    outputs = outputs_of(case, with_all(arguments, leaves), backend)
    generator = torch.Generator().manual_seed(3)
    weights = [torch.randn(part.shape, generator=generator, dtype=part.dtype) for part in outputs]
    grads = torch.autograd.grad(outputs, list(leaves.values()), weights)
    forward = [(weight * part[0]).sum() for weight, part in zip(weights, found, strict=True)]
    reverse = [(grad * tangent[0]).sum() for grad, tangent in zip(grads, tangents.values(), strict=True)]
    assert float(sum(forward)) == pytest.approx(float(sum(reverse)), rel=1e-9)


@every_differentiable_op
@every_kernel
def test_tangents_of_all_arguments_are_the_sum_of_those_of_each(case: OpCase, backend: str) -> None:
    problems = case.problems if backend == "numba" else case.calls_for(backend)
    for problem in problems.values():
        arguments = problem(torch.float64, 0)
        tangents = some_tangents(arguments, case.leaves(arguments))
        _, together = value_and_tangents(case.op, arguments, tangents, backend)
        alone = [value_and_tangents(case.op, arguments, {path: tangents[path]}, backend)[1] for path in tangents]
        for total, *parts in zip(together, *alone, strict=True):
            torch.testing.assert_close(
                total, torch.stack(parts).sum(0), rtol=1e-9, atol=1e-9 * float(total.abs().max())
            )


@every_differentiable_op
@every_kernel
def test_many_tangents_are_those_that_come_one_by_one(case: OpCase, backend: str) -> None:
    arguments = case.first()
    tangents = some_tangents(arguments, case.leaves(arguments), 6)
    _, together = value_and_tangents(case.op, arguments, tangents, backend)
    for k in range(6):
        with forward_ad.dual_level():
            duals = {
                path: forward_ad.make_dual(get(arguments, split_path(path)), tangent[k])
                for path, tangent in tangents.items()
            }
            alone = [
                forward_ad.unpack_dual(part).tangent for part in outputs_of(case, with_all(arguments, duals), backend)
            ]
        assert_same_bits([part[k] for part in together], alone)
    nested = {path: tangent.unflatten(0, (2, 3)) for path, tangent in tangents.items()}

    def in_threes(*chosen: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(tangents, chosen, strict=True))
        return tuple(value_and_tangents(case.op, arguments, named, backend)[1])

    twice = torch.func.vmap(in_threes)(*nested.values())
    assert_same_bits([part.flatten(0, 1) for part in twice], together)


@every_run(ON_THE_CPU, OpCase.calls_for, DIFFERENTIABLE)
def test_tangents_need_not_be_contiguous(case: OpCase, problem: Problem, backend: str) -> None:
    arguments = problem(torch.float32, 0)
    tangents = some_tangents(arguments, case.leaves(arguments))
    found = value_and_tangents(
        case.op, map_tensors(arguments, strided), {path: strided(part) for path, part in tangents.items()}, backend
    )
    assert_same_bits(found, value_and_tangents(case.op, arguments, tangents, backend))


@every("large", DIFFERENTIABLE)
def test_tangents_have_the_same_bits_for_any_number_of_threads(case: OpCase, problem: Problem) -> None:
    arguments = problem(torch.float32, 1)
    tangents = some_tangents(arguments, case.leaves(arguments))
    assert_all_finite(value_and_tangents(case.op, arguments, tangents, "numba"))
    assert_same_for_any_threads(lambda: value_and_tangents(case.op, arguments, tangents, "numba"))


@pytest.mark.parametrize(
    ("case", "sizes"),
    [
        pytest.param(case, sizes, id=f"{name}: {sizes}")
        for name, case in CASES.items()
        if case.differentiable
        for sizes in case.empty
    ],
)
@every_kernel
def test_tangents_of_nothing(case: OpCase, sizes: tuple[str, ...], backend: str) -> None:
    arguments = case.first(torch.float64)
    nothing = with_all(arguments, without(declared(case, arguments), sizes))
    tangents = some_tangents(nothing, case.leaves(nothing))
    found = value_and_tangents(case.op, nothing, tangents, backend)
    expected = value_and_tangents(case.op, nothing, tangents, "reference")
    for actual, wanted in zip(flatten(found), flatten(expected), strict=True):
        torch.testing.assert_close(actual, wanted)


@every_op
@every_backend
def test_what_has_no_derivative_is_constant(case: OpCase, backend: str) -> None:
    arguments = case.first()
    constant = [
        path
        for path, tensor in tensors_in(arguments)
        if tensor.is_floating_point() and (path in case.constants if case.differentiable else True)
    ]
    if constant and outputs_of(case, arguments, backend):
        values, tangents = value_and_tangents(case.op, arguments, some_tangents(arguments, constant), backend)
        assert_same_bits(values, outputs_of(case, arguments, backend))
        assert not any(bool(part.any()) for part in tangents)


@every_differentiable_op
def test_second_derivatives_with_a_tangent_are_right_or_refused(case: OpCase) -> None:
    arguments = case.first(torch.float64)
    paths = case.leaves(arguments)
    leaves = tuple(get(arguments, split_path(path)) for path in paths)
    tangents = tuple(part[0] for part in some_tangents(arguments, paths, 1).values())

    def run(mode: str, backend: str) -> tuple[Tensor, ...]:
        def total(*chosen: Tensor) -> Tensor:
            values = outputs_of(
                case, with_all(arguments, dict(zip(case.leaves(arguments), chosen, strict=True))), backend
            )
            return sum((value.square().sum() for value in values), torch.zeros((), dtype=torch.float64))

        def slope(*chosen: Tensor) -> Tensor:
            return torch.func.jvp(total, chosen, tangents)[1]

        gradient = torch.func.grad(total, argnums=tuple(range(len(leaves))))
        if mode == "reverse over forward":
            return torch.func.grad(slope, argnums=tuple(range(len(leaves))))(*leaves)
        if mode == "forward over forward":
            return (torch.func.jvp(slope, leaves, tangents)[1],)
        if mode == "forward over reverse":
            return torch.func.jvp(gradient, leaves, tangents)[1]
        return torch.func.grad(lambda *chosen: sum(part.sum() for part in gradient(*chosen)))(*leaves)[None]

    for mode in ("reverse over forward", "forward over forward", "forward over reverse", "reverse over reverse"):
        if case.linear:
            for actual, wanted in zip(run(mode, "numba"), run(mode, "reference"), strict=True):
                torch.testing.assert_close(actual, wanted, msg=mode)
        else:
            with pytest.raises(BackendError, match=f"{case.name}: the kernel has no second derivative"):
                run(mode, "numba")


@every_differentiable_op
def test_torch_func_finds_the_gradients_of_autograd(case: OpCase) -> None:
    arguments = case.first(torch.float64)
    paths = case.leaves(arguments)
    leaves = tuple(get(arguments, split_path(path)) for path in paths)

    def function(*chosen: Tensor) -> tuple[Tensor, ...]:
        return tuple(outputs_of(case, with_all(arguments, dict(zip(paths, chosen, strict=True))), "numba"))

    outputs, backward = torch.func.vjp(function, *leaves)
    weights = tuple(
        torch.linspace(1, 2, 2 * part.numel(), dtype=part.dtype).reshape(2, *part.shape) for part in outputs
    )
    found = torch.func.vmap(backward)(weights)
    for k in range(2):
        fresh = [leaf.clone().requires_grad_() for leaf in leaves]
        expected = torch.autograd.grad(function(*fresh), fresh, [weight[k] for weight in weights])
        for actual, wanted in zip(found, expected, strict=True):
            torch.testing.assert_close(actual[k], wanted)


@every_op
def test_values_are_not_mapped_over(case: OpCase) -> None:
    arguments = case.first()
    path, tensor = next((path, part) for path, part in tensors_in(arguments) if part.is_floating_point())
    if case.linear:  # then nothing stands against it
        tensors = torch.stack([tensor, 2 * tensor])
        found = torch.func.vmap(lambda part: outputs_of(case, with_all(arguments, {path: part}), "numba")[0])(tensors)
        (expected,) = outputs_of(case, arguments, "numba")
        torch.testing.assert_close(found, torch.stack([expected, 2 * expected]))
        return
    with pytest.raises(BackendError, match="vmap over scenes, cameras or other values is not possible"):
        torch.func.vmap(lambda part: tuple(outputs_of(case, with_all(arguments, {path: part}), "numba")))(tensor[None])
