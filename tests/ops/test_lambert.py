from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from support.comparators import assert_gradients_agree
from support.triangle_soups import (
    assert_all_finite,
    assert_same_bits,
    assert_same_for_any_threads,
    both_backends,
    both_dtypes,
    strided,
)
from torch import Tensor

from diffrender.errors import BackendError, ShapeError
from diffrender.ops.lambert import lambert

Work = tuple[Tensor, Tensor, Tensor]
NAMES = ("normal", "to_light", "base_color")
# Inputs that have one row for all points.
SHARED = ((), ("to_light",), ("base_color",), ("to_light", "base_color"))


def problem(
    dtype: torch.dtype = torch.float64, n_points: int = 200, n_lights: int = 3, shared: tuple[str, ...] = ()
) -> Work:
    """Normals and lights all around: half of the lights behind the surface."""
    normal = torch.nn.functional.normalize(torch.randn(n_points, 3, dtype=torch.float64), dim=1)
    to_light = torch.nn.functional.normalize(torch.randn(n_points, n_lights, 3, dtype=torch.float64), dim=2)
    parts = (normal, to_light, torch.rand(n_points, 3, dtype=torch.float64))
    return tuple(  # type: ignore[return-value]
        (part[:1] if name in shared else part).to(dtype) for name, part in zip(NAMES, parts, strict=True)
    )


def with_gradients(work: Work, backend: str) -> tuple[Tensor, ...]:
    """The values, and the gradients of a fixed sum of them with respect to all inputs."""
    leaves = [part.detach().clone().requires_grad_() for part in work]
    out = lambert(*leaves, backend=backend)
    weight = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).reshape(out.shape).cos()
    return (out.detach(), *torch.autograd.grad((out * weight).sum(), leaves))


@both_backends
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    normal = torch.tensor([[0.0, 0, 1]], dtype=dtype)
    to_light = torch.tensor([[[0.6, 0, 0.8], [0.6, 0, -0.8]]], dtype=dtype)
    color = torch.tensor([[0.5, 1.0, 0.0]], dtype=dtype)
    out = lambert(normal, to_light, color, backend=backend)
    expected = torch.tensor([[[0.4, 0.8, 0], [0, 0, 0]]], dtype=dtype) / math.pi
    torch.testing.assert_close(out, expected)


@both_dtypes
@pytest.mark.parametrize("shared", SHARED, ids=lambda names: " ".join(names) or "none")
def test_matches_the_reference_in_value_and_gradient(dtype: torch.dtype, shared: tuple[str, ...]) -> None:
    work = problem(dtype, shared=shared)
    precise: Work = tuple(part.double() for part in work)  # type: ignore[assignment]
    found, expected = with_gradients(work, "numba"), with_gradients(precise, "reference")
    assert found[0].dtype == dtype and bool((expected[0] > 0).any()) and bool((expected[0] == 0).any())
    tolerance = 1e-12 if dtype == torch.float64 else 1e-6
    torch.testing.assert_close(found[0].double(), expected[0], rtol=tolerance, atol=tolerance)
    for name, actual, wanted in zip(NAMES, found[1:], expected[1:], strict=True):
        assert_gradients_agree(actual, wanted.to(dtype), what=name, relative_l2_at_most=10 * tolerance)


@both_backends
def test_gradients_are_the_derivatives(backend: str) -> None:
    leaves = [part.requires_grad_() for part in problem(n_points=6, n_lights=2)]
    torch.autograd.gradcheck(lambda *parts: lambert(*parts, backend=backend), leaves)


@both_backends
@pytest.mark.parametrize("which", range(3), ids=NAMES)
def test_a_nan_stays_one(backend: str, which: int) -> None:
    work = [part.clone() for part in problem(n_points=8, n_lights=1)]
    work[1] = work[0][:, None].clone()  # light from straight above, so that nothing is zero anyway
    work[which][3] = torch.nan
    out = lambert(*work, backend=backend)
    assert bool(out[3].isnan().all())
    assert_all_finite((out[:3], out[4:]))


@both_backends
def test_only_what_is_wanted_gets_a_gradient(backend: str) -> None:
    work = problem(torch.float32)
    everything = with_gradients(work, backend)
    for which in range(3):
        leaves = [part.detach().clone().requires_grad_(index == which) for index, part in enumerate(work)]
        out = lambert(*leaves, backend=backend)
        weight = torch.linspace(-1, 2, out.numel()).reshape(out.shape).cos()
        (out * weight).sum().backward()
        assert [leaf.grad is not None for leaf in leaves] == [index == which for index in range(3)]
        torch.testing.assert_close(leaves[which].grad, everything[1 + which])
    assert not lambert(*work, backend=backend).requires_grad


def test_same_bits_for_any_number_of_threads() -> None:
    work = problem(torch.float32, 60_000, 1, ("to_light", "base_color"))
    assert_same_for_any_threads(lambda: with_gradients(work, "numba"))


@both_backends
@both_dtypes
def test_result_does_not_depend_on_what_memory_held(
    backend: str, dtype: torch.dtype, poisoned_memory: Callable[[], AbstractContextManager[None]]
) -> None:
    work = problem(dtype)
    expected = with_gradients(work, backend)
    with poisoned_memory():
        found = with_gradients(work, backend)
    assert_same_bits(found, expected)
    assert_all_finite(found)


@both_backends
def test_input_need_not_be_contiguous(backend: str) -> None:
    work = problem(torch.float32)
    assert_same_bits(lambert(*(strided(part) for part in work), backend=backend), lambert(*work, backend=backend))


@both_backends
def test_no_points_and_no_lights(backend: str) -> None:
    assert [len(part) for part in with_gradients(tuple(part[:0] for part in problem()), backend)] == [0] * 4  # type: ignore[arg-type]
    normal, to_light, color = problem(n_points=5)
    found = with_gradients((normal, to_light[:, :0], color), backend)
    assert found[0].shape == (5, 0, 3) and not any(bool(part.any()) for part in found[1:])


@both_backends
def test_mistakes_are_named(backend: str) -> None:
    good = problem(torch.float32, 5, 2)
    cases = {
        r"normal must have shape \[M, 3\]": (0, good[0][:, :2]),
        r"normal must be float32 or float64": (0, good[0].half()),
        r"to_light must have shape \[5, S, 3\]": (1, good[1][:4]),
        r"base_color must have shape \[5, 3\]": (2, good[2][:, :1]),
        r"one dtype, got normal torch.float32.*base_color torch.float64": (2, good[2].double()),
        r"one device": (2, good[2].to("meta")),
    }
    for message, (position, wrong) in cases.items():
        arguments = [*good]
        arguments[position] = wrong
        with pytest.raises(ShapeError, match=f"lambert: .*{message}"):
            lambert(*arguments, backend=backend)
    with pytest.raises(BackendError, match="'numba' runs on the CPU"):
        lambert(*(part.to("meta") for part in good), backend="numba")
