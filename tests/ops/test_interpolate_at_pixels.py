from __future__ import annotations

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
    parallel_points,
    seen_points,
    soup,
    strided,
)
from torch import Tensor

from diffrender.errors import BackendError, ShapeError
from diffrender.ops.barycentrics import barycentrics
from diffrender.ops.interpolate_at_pixels import interpolate_at_pixels

Work = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
visible_soups = pytest.mark.parametrize("kind", ("in_front", "crossing", "parallel"))


def problem(kind: str, dtype: torch.dtype, n_points: int = 300, n_channels: int = 3) -> Work:
    """The last two thirds of a scene's faces belong to an object that has its own vertices, in another order."""
    verts, faces = soup(kind, 6, dtype=dtype)
    view, seen_id, place = seen_points(verts, faces, n_points)
    first = len(faces) // 3
    # Points in the order of an image: some of them in runs on one face.
    order = torch.argsort(view * len(faces) + seen_id)
    order = order[seen_id[order] >= first]
    order[: len(order) // 3] = order[: len(order) // 3].flip(0)[torch.randperm(len(order) // 3)]
    generator = torch.Generator().manual_seed(n_channels)
    values = torch.randn(verts.shape[1] + 5, n_channels, generator=generator, dtype=dtype)
    own = torch.randperm(len(values), generator=generator)[: verts.shape[1]][faces[first:]]
    return values, own, seen_id[order] - first, verts, faces, seen_id[order], view[order], place[order]


def with_gradients(work: Work, backend: str) -> tuple[Tensor, Tensor, Tensor]:
    """The values, and the gradients of a fixed sum of them with respect to values and verts_hom."""
    values, verts = (work[i].detach().clone().requires_grad_() for i in (0, 3))
    out = interpolate_at_pixels(values, *work[1:3], verts, *work[4:], backend=backend)
    weight = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).reshape(out.shape).cos()
    return (out.detach(), *torch.autograd.grad((out * weight).sum(), (values, verts)))  # type: ignore[return-value]


@both_backends
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    # Orthographic, so b = (17, 3, 4) / 24 at (.5, .5). Moving corner c by d to the right moves the surface under the
    # point by b_c d: there the values change by -b_c d times their slope along x, (b's - a's) / 4.
    verts = parallel_points(torch.tensor([[[0, 0, 1], [4, 0, 1], [0, 3, 1]]], dtype=dtype)).requires_grad_()
    values = torch.tensor([[24.0, 0], [48, 24], [0, 240]], dtype=dtype).requires_grad_()
    faces, zero = torch.tensor([[0, 1, 2]]), torch.zeros(1, dtype=torch.int64)
    place = torch.tensor([[0.5, 0.5]], dtype=dtype)
    out = interpolate_at_pixels(values, faces, zero, verts, faces, zero, zero, place, backend=backend)
    torch.testing.assert_close(out, torch.tensor([[17 + 6.0, 3 + 40]], dtype=dtype))
    grad_values, grad_verts = torch.autograd.grad(out[0, 0], (values, verts))
    bary = torch.tensor([17, 3, 4], dtype=dtype) / 24
    torch.testing.assert_close(grad_values, torch.stack([bary, torch.zeros_like(bary)], 1))
    torch.testing.assert_close(grad_verts[0, :, 0], -bary * (48 - 24) / 4)


@both_dtypes
@visible_soups
@pytest.mark.parametrize("n_channels", [1, 3, 7])
def test_matches_the_reference_in_value_and_gradient(kind: str, dtype: torch.dtype, n_channels: int) -> None:
    work = problem(kind, dtype, n_channels=n_channels)
    assert len(work[2]) > 100
    found = with_gradients(work, "numba")
    # The definition in float64: in float32 the reference itself is only as good as float32 can tell.
    precise = tuple(part.double() if part.is_floating_point() else part for part in work)
    expected = with_gradients(precise, "reference")  # type: ignore[arg-type]
    tolerance = 1e-9 if dtype == torch.float64 else 1e-4
    torch.testing.assert_close(found[0].double(), expected[0], rtol=tolerance, atol=tolerance)
    for actual, wanted in zip(found[1:], expected[1:], strict=True):
        assert_gradients_agree(actual, wanted, relative_l2_at_most=1e-4 if dtype == torch.float32 else 1e-9)


@both_backends
def test_gradients_are_the_derivatives(backend: str) -> None:
    values, faces, face_id, verts, scene_faces, seen_id, view, place = problem("in_front", torch.float64, 12)
    torch.autograd.gradcheck(
        lambda a, v: interpolate_at_pixels(a, faces, face_id, v, scene_faces, seen_id, view, place, backend=backend),
        (values.requires_grad_(), verts.requires_grad_()), eps=1e-6, atol=1e-6, rtol=1e-5,
    )  # fmt: skip


@both_backends
def test_only_what_is_wanted_gets_a_gradient(backend: str) -> None:
    work = problem("in_front", torch.float32)
    everything = with_gradients(work, backend)
    for wanted in ((True, False), (False, True)):
        values, verts = work[0].clone().requires_grad_(wanted[0]), work[3].clone().requires_grad_(wanted[1])
        out = interpolate_at_pixels(values, *work[1:3], verts, *work[4:], backend=backend)
        weight = torch.linspace(-1, 2, out.numel()).reshape(out.shape).cos()
        (out * weight).sum().backward()
        assert (values.grad is not None, verts.grad is not None) == wanted
        found, expected = (values.grad, everything[1]) if wanted[0] else (verts.grad, everything[2])
        torch.testing.assert_close(found, expected)
    assert not interpolate_at_pixels(*work, backend=backend).requires_grad


@both_backends
def test_the_place_itself_comes_back(backend: str) -> None:
    # What the corners hold is their place times 1 / w: interpolated and divided, the place of the point.
    work = problem("in_front", torch.float64)
    verts, faces, seen_id, view, place = work[3:]
    one_view = view == 0
    held = verts[0, :, :3]
    out = interpolate_at_pixels(
        held,
        faces,
        seen_id[one_view],
        verts,
        faces,
        seen_id[one_view],
        view[one_view],
        place[one_view],
        backend=backend,
    )
    bary = barycentrics(verts, faces, view[one_view], seen_id[one_view], place[one_view])
    sound = bary.abs().amax(1) < 20
    torch.testing.assert_close((out[:, :2] / out[:, 2:])[sound], place[one_view][sound], rtol=1e-9, atol=1e-9)


@both_backends
def test_a_face_seen_exactly_from_the_side_gives_zeros(backend: str) -> None:
    verts = parallel_points(torch.tensor([[[1.0, 1, 1], [2, 2, 1], [5, 5, 1]]])).requires_grad_()
    values, faces = torch.ones(3, 3, requires_grad=True), torch.tensor([[0, 1, 2]])
    zero = torch.zeros(2, dtype=torch.int64)
    out = interpolate_at_pixels(
        values, faces, zero, verts, faces, zero, zero, torch.tensor([[1.5, 1.5], [3, 1]]), backend=backend
    )
    grads = torch.autograd.grad(out.sum() + out.square().sum(), (values, verts))
    assert not any(bool(part.any()) for part in (out, *grads))


def test_same_bits_for_any_number_of_threads() -> None:
    for dtype in (torch.float32, torch.float64):
        work = problem("crossing", dtype, 100_000)
        assert_same_for_any_threads(lambda work=work: with_gradients(work, "numba"))


@both_backends
@both_dtypes
def test_result_does_not_depend_on_what_memory_held(
    backend: str, dtype: torch.dtype, poisoned_memory: Callable[[], AbstractContextManager[None]]
) -> None:
    work = problem("in_front", dtype, n_channels=4)
    expected = with_gradients(work, backend)
    with poisoned_memory():
        found = with_gradients(work, backend)
    assert_same_bits(found, expected)
    assert_all_finite(found)


@both_backends
def test_input_need_not_be_contiguous(backend: str) -> None:
    work = problem("in_front", torch.float32)
    expected = with_gradients(work, backend)
    assert_same_bits(with_gradients(tuple(strided(part) for part in work), backend), expected)  # type: ignore[arg-type]


@both_backends
def test_no_points_and_no_channels(backend: str) -> None:
    work = problem("in_front", torch.float32)
    none = (*work[:2], work[2][:0], *work[3:5], *(part[:0] for part in work[5:]))
    out, grad_values, grad_verts = with_gradients(none, backend)  # type: ignore[arg-type]
    assert out.shape == (0, 3) and not bool(grad_values.any()) and not bool(grad_verts.any())
    out, grad_values, grad_verts = with_gradients((work[0][:, :0], *work[1:]), backend)
    assert out.shape == (len(work[2]), 0) and grad_values.shape == (len(work[0]), 0) and not bool(grad_verts.any())


def test_a_second_derivative_is_refused_and_not_zero() -> None:
    work = problem("in_front", torch.float64)
    values = work[0].requires_grad_()
    (grad,) = torch.autograd.grad(interpolate_at_pixels(values, *work[1:]).square().sum(), values, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@both_backends
def test_mistakes_are_named(backend: str) -> None:
    good = problem("in_front", torch.float32)
    cases = {
        r"values must have shape \[V, C\]": (0, good[0][0]),
        r"values must be float32 or float64": (0, good[0].half()),
        r"faces must have shape \[F, 3\]": (1, good[1][:, :2]),
        r"faces must be int64": (1, good[1].int()),
        r"face_id must be int64": (2, good[2].int()),
        r"verts_hom must have shape \[N, V, 4\]": (3, good[3][0]),
        r"scene_faces must be int64": (4, good[4].int()),
        r"scene_face_id must have shape": (5, good[5][:-1]),
        r"view must have shape": (6, good[6][:-1]),
        r"xy_px must have shape": (7, good[7][:-1]),
        r"one dtype, got values torch.float32, verts_hom torch.float32, xy_px torch.float64": (7, good[7].double()),
        r"one device": (3, good[3].to("meta")),
    }
    for message, (position, wrong) in cases.items():
        arguments = [*good]
        arguments[position] = wrong
        with pytest.raises(ShapeError, match=f"interpolate_at_pixels: .*{message}"):
            interpolate_at_pixels(*arguments, backend=backend)
    with pytest.raises(BackendError, match="'numba' runs on the CPU"):
        interpolate_at_pixels(*(part.to("meta") for part in good), backend="numba")
