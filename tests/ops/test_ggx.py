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
from diffrender.ops.ggx import ggx

Work = tuple[Tensor, ...]
F64 = torch.float64
NAMES = ("normal", "to_camera", "to_light", "base_color", "metallic", "roughness")
# Inputs that have one row for all points.
SHARED = ((), ("to_light",), ("base_color", "metallic", "roughness"), ("to_light", "base_color", "roughness"))


def table(dtype: torch.dtype, rows: int = 5, columns: int = 9) -> Tensor:
    """A table of T that is curved in both directions."""
    y, x = torch.meshgrid(torch.linspace(0, 1, rows), torch.linspace(0, 1, columns), indexing="ij")
    return (0.6 + 0.3 * x * (1 - 0.5 * y) - 0.1 * y * y)[..., None].to(dtype)


def problem(
    dtype: torch.dtype = F64, n_points: int = 200, n_lights: int = 3, shared: tuple[str, ...] = (), rough: float = 0.05
) -> Work:
    """Normals all around, cameras mostly and lights often before them; roughness from `rough` to 1."""
    generator = torch.Generator().manual_seed(n_points + n_lights)

    def unit(*shape: int) -> Tensor:
        return torch.nn.functional.normalize(torch.randn(*shape, generator=generator, dtype=F64), dim=-1)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=F64)

    normal = unit(n_points, 3)
    to_camera = torch.nn.functional.normalize(unit(n_points, 3) + 1.3 * normal, dim=1)
    to_light = torch.nn.functional.normalize(unit(n_points, n_lights, 3) + 0.8 * normal[:, None], dim=2)
    roughness = rough + (1 - rough) * uniform(n_points, 1)
    parts = (normal, to_camera, to_light, uniform(n_points, 3), uniform(n_points, 1), roughness)
    return tuple((part[:1] if name in shared else part).to(dtype) for name, part in zip(NAMES, parts, strict=True))


def with_gradients(work: Work, backend: str) -> Work:
    """The values, and the gradients of a fixed sum of them with respect to all inputs but the table."""
    leaves = [part.detach().clone().requires_grad_() for part in work]
    out = ggx(*leaves, table(work[0].dtype), backend=backend)  # type: ignore[arg-type]
    weight = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).reshape(out.shape).cos()
    return (out.detach(), *torch.autograd.grad((out * weight).sum(), leaves))


def doubled(work: Work) -> Work:
    return tuple(part.double() for part in work)


@both_backends
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    # Camera and light 60 degrees apart, the normal half-way: h = n, v.h = n.l = n.v = cos 30; roughness 1: D = 1 / pi,
    # V = 1 / (4 cos 30). A table of T = 1 / 2.
    side, up = 0.5, math.sqrt(0.75)
    normal, to_camera = torch.tensor([[0.0, 0, 1]], dtype=dtype), torch.tensor([[side, 0, up]], dtype=dtype)
    to_light = torch.tensor([[[-side, 0, up], [-side, 0, -up]]], dtype=dtype)
    color = torch.tensor([[0.2, 0.5, 1.0]], dtype=dtype)
    half, one = torch.tensor([[0.25]], dtype=dtype), torch.ones(1, 1, dtype=dtype)
    flat = torch.full((2, 2, 1), 0.5, dtype=dtype)
    out = ggx(normal, to_camera, to_light, color, half, one, flat, backend=backend)
    f0 = 0.04 + 0.25 * (color[0] - 0.04)
    fresnel = f0 + (1 - f0) * (1 - up) ** 5
    expected = (fresnel / (math.pi * 4 * up) + color[0] * 0.75 / math.pi / 4) * up
    torch.testing.assert_close(out[0, 0], expected)
    assert not bool(out[0, 1].any())  # from behind


@both_dtypes
@pytest.mark.parametrize("shared", SHARED, ids=lambda names: " ".join(names) or "none")
def test_matches_the_reference_in_value_and_gradient(dtype: torch.dtype, shared: tuple[str, ...]) -> None:
    work = problem(dtype, shared=shared)
    # In float32 the reference itself is only as good as float32 can tell.
    found, expected = with_gradients(work, "numba"), with_gradients(doubled(work), "reference")
    assert found[0].dtype == dtype and bool((expected[0] > 0).any()) and bool((expected[0] == 0).any())
    tolerance = 1e-12 if dtype == F64 else 1e-6
    torch.testing.assert_close(found[0].double(), expected[0], rtol=tolerance, atol=tolerance)
    for name, actual, wanted in zip(NAMES, found[1:], expected[1:], strict=True):
        assert_gradients_agree(actual, wanted.to(dtype), what=name, relative_l2_at_most=1e-5 if dtype != F64 else 1e-10)


@both_backends
def test_gradients_are_the_derivatives(backend: str) -> None:
    # Smooth surfaces have derivatives too steep for differences.
    leaves = [part.requires_grad_() for part in problem(n_points=6, n_lights=2, rough=0.4)]
    torch.autograd.gradcheck(lambda *parts: ggx(*parts, table(F64), backend=backend), leaves)


def test_smooth_surfaces_at_grazing_angles_match_the_reference() -> None:
    """Highlights of the least roughness, seen and lit from the side: where digits are lost first."""
    normal = torch.tensor([[0.0, 0, 1]], dtype=F64).repeat(60, 1)
    angle = torch.linspace(1.2, 1.5706, 60, dtype=F64)
    to_camera = torch.stack([angle.sin(), torch.zeros_like(angle), angle.cos()], 1)
    tilt = torch.tensor([[-1.0, 0.003, 1]], dtype=F64)
    to_light = torch.nn.functional.normalize(to_camera * tilt, dim=1)[:, None]
    one = torch.ones(60, 1, dtype=F64)
    work = (normal, to_camera, to_light, 0.5 * one.expand(60, 3), 0.3 * one, 0.045 * one)
    found, expected = with_gradients(work, "numba"), with_gradients(work, "reference")
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    single = with_gradients(tuple(part.float() for part in work), "numba")
    assert_all_finite(single)
    # What float32 directions alone do to such a highlight.
    exact = with_gradients(tuple(part.float().double() for part in work), "reference")
    torch.testing.assert_close(single[0].double(), exact[0], rtol=1e-6, atol=1e-6)


@both_backends
def test_roughness_and_cosines_are_held_where_they_end(backend: str) -> None:
    work = list(problem(n_points=60, n_lights=1))
    work[5] = torch.tensor([[-0.1], [0.02], [1.2]], dtype=F64).repeat(20, 1)
    found = with_gradients(tuple(work), backend)
    assert not bool(found[6].any())
    work[5] = work[5].clamp(0.045, 1)
    torch.testing.assert_close(found[0], with_gradients(tuple(work), backend)[0])
    # Cameras behind the surface: seen as from the side.
    work[1] = -work[0]
    out = ggx(*work, table(F64), backend=backend)  # type: ignore[arg-type]
    assert_all_finite((out,))


@both_backends
@pytest.mark.parametrize("which", range(6), ids=NAMES)
def test_a_nan_stays_one(backend: str, which: int) -> None:
    work = [part.clone() for part in problem(n_points=8, n_lights=1)]
    work[2] = work[0][:, None].clone()  # light from straight above, so that nothing is zero anyway
    work[which][3] = torch.nan
    out = ggx(*work, table(F64), backend=backend)  # type: ignore[arg-type]
    assert bool(out[3].isnan().all())
    assert_all_finite((out[:3], out[4:]))


@both_backends
def test_only_what_is_wanted_gets_a_gradient(backend: str) -> None:
    work = problem(torch.float32)
    everything = with_gradients(work, backend)
    for which in range(6):
        leaves = [part.detach().clone().requires_grad_(index == which) for index, part in enumerate(work)]
        out = ggx(*leaves, table(torch.float32), backend=backend)  # type: ignore[arg-type]
        weight = torch.linspace(-1, 2, out.numel()).reshape(out.shape).cos()
        (out * weight).sum().backward()
        assert [leaf.grad is not None for leaf in leaves] == [index == which for index in range(6)]
        torch.testing.assert_close(leaves[which].grad, everything[1 + which])
    assert not ggx(*work, table(torch.float32), backend=backend).requires_grad  # type: ignore[arg-type]


def test_same_bits_for_any_number_of_threads() -> None:
    work = problem(torch.float32, 30_000, 1, ("to_light", "base_color"))
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
    wide = tuple(strided(part) for part in work)
    look_up = table(torch.float32)
    assert_same_bits(
        ggx(*wide, strided(look_up), backend=backend),  # type: ignore[arg-type]
        ggx(*work, look_up, backend=backend),  # type: ignore[arg-type]
    )


@both_backends
def test_no_points_and_no_lights(backend: str) -> None:
    empty = with_gradients(tuple(part[:0] for part in problem()), backend)
    assert empty[0].shape == (0, 3, 3) and [len(part) for part in empty[1:]] == [0] * 6
    work = list(problem(n_points=5))
    work[2] = work[2][:, :0]
    found = with_gradients(tuple(work), backend)
    assert found[0].shape == (5, 0, 3) and not any(bool(part.any()) for part in found[1:])


def test_a_second_derivative_is_refused_and_not_zero() -> None:
    work = [part.requires_grad_() for part in problem(n_points=4)]
    (grad,) = torch.autograd.grad(ggx(*work, table(F64)).square().sum(), work[3], create_graph=True)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@both_backends
def test_mistakes_are_named(backend: str) -> None:
    good = (*problem(torch.float32, 5, 2), table(torch.float32))
    cases = {
        r"normal must have shape \[M, 3\]": (0, good[0][:, :2]),
        r"normal must be float32 or float64": (0, good[0].half()),
        r"to_camera must have shape \[5, 3\]": (1, good[1][:1]),
        r"to_light must have shape \[5, S, 3\]": (2, good[2][:4]),
        r"base_color must have shape \[5, 3\]": (3, good[3][:, :1]),
        r"metallic must have shape \[5, 1\]": (4, good[4].expand(5, 3)),
        r"roughness must have shape \[5, 1\]": (5, good[5][:3]),
        r"diffuse_table must have shape \[R, K, 1\]": (6, good[6][..., 0]),
        r"one dtype, got normal torch.float32.*roughness torch.float64": (5, good[5].double()),
        r"one device": (3, good[3].to("meta")),
    }
    for message, (position, wrong) in cases.items():
        arguments = [*good]
        arguments[position] = wrong
        with pytest.raises(ShapeError, match=f"ggx: .*{message}"):
            ggx(*arguments, backend=backend)
    with pytest.raises(BackendError, match="'numba' runs on the CPU"):
        ggx(*(part.to("meta") for part in good), backend="numba")
