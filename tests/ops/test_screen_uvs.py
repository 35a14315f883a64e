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
from diffrender.ops.screen_uvs import screen_uvs
from diffrender.ops.screen_uvs.limits import LARGEST

Work = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
FLOATS = (0, 3)
every_soup = pytest.mark.parametrize("kind", ("in_front", "crossing", "parallel"))


def problem(kind: str = "in_front", dtype: torch.dtype = torch.float64, n_points: int = 300) -> Work:
    """The op's arguments for points of visible faces; the last two thirds of the scene's faces are an object's own."""
    verts_hom, faces = soup(kind, 3, dtype=torch.float64)
    view, seen_id, xy_px = seen_points(verts_hom, faces, n_points)
    first = len(faces) // 3
    # Points in the order of an image: some of them in runs on one face.
    order = torch.argsort(view * len(faces) + seen_id)
    order = order[seen_id[order] >= first]
    order[: len(order) // 3] = order[: len(order) // 3].flip(0)[torch.randperm(len(order) // 3)]
    generator = torch.Generator().manual_seed(4)
    uvs = torch.rand(50, 2, generator=generator, dtype=torch.float64) * 3 - 1
    uv_faces = torch.randint(50, (len(faces) - first, 3), generator=generator)
    seen = (verts_hom.to(dtype), faces, seen_id[order], view[order], xy_px[order].to(dtype))
    return uvs.to(dtype), uv_faces, seen_id[order] - first, *seen


def with_gradients(work: Work, backend: str) -> tuple[Tensor, ...]:
    """Coordinates, derivatives, and the gradients of a fixed sum of both with respect to uvs and verts_hom."""
    arguments = list(work)
    for index in FLOATS:
        arguments[index] = work[index].detach().clone().requires_grad_()
    out = screen_uvs(*arguments, backend=backend)
    total = out[0].new_zeros(())
    for part, end in zip(out, (2, -1), strict=True):
        total = total + (part * torch.linspace(1, end, part.numel(), dtype=part.dtype).reshape(part.shape).cos()).sum()
    return (*(part.detach() for part in out), *torch.autograd.grad(total, [arguments[index] for index in FLOATS]))


@both_backends
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    # A triangle with legs of 10 and 5 pixels whose uv runs over the unit square: 1/10 a pixel to the right, 1/5 down.
    flat = torch.tensor([[[0.0, 0, 1, 1], [10, 0, 1, 1], [0, 5, 1, 1]]], dtype=dtype)
    uvs = torch.tensor([[0.0, 0], [1, 0], [0, 1]], dtype=dtype)
    faces, zero = torch.tensor([[0, 1, 2]]), torch.zeros(2, dtype=torch.int64)
    place = torch.tensor([[0.0, 0], [3, 2]], dtype=dtype)
    uv, derivatives = screen_uvs(uvs, faces, zero, flat, faces, zero, zero, place, backend=backend)
    torch.testing.assert_close(uv, torch.tensor([[0, 0], [0.3, 0.4]], dtype=dtype))
    torch.testing.assert_close(derivatives, torch.tensor([[[0.1, 0], [0, 0.2]]] * 2, dtype=dtype))
    # The right corner is twice as far away, w = 2. At place x, b_1 = (x / 10) / 2 over (1 - x / 10) + (x / 10) / 2, so
    # u = x / (20 - x) and du/dx = 20 / (20 - x)^2: 1/20 at the left corner and 1/5 at the right one.
    tilted = torch.tensor([[[0.0, 0, 1, 1], [20, 0, 2, 2], [0, 5, 1, 1]]], dtype=dtype).requires_grad_()
    place = torch.tensor([[0.0, 0], [10, 0]], dtype=dtype)
    uv, derivatives = screen_uvs(uvs, faces, zero, tilted, faces, zero, zero, place, backend=backend)
    assert uv[:, 0].tolist() == pytest.approx([0, 1])
    assert derivatives[:, 0, 0].tolist() == pytest.approx([1 / 20, 1 / 5])
    assert derivatives[:, 1, 0].tolist() == pytest.approx([0, 0]) and derivatives[0, 1, 1].item() == pytest.approx(0.2)
    # Moved by one pixel (its x w by w), the left corner takes its u = 0 along.
    (grad,) = torch.autograd.grad(uv[0, 0], tilted)
    assert grad[0, 0, 0].item() == pytest.approx(-1 / 20)


@every_soup
@both_backends
def test_is_what_corners_hold_and_its_derivative(backend: str, kind: str) -> None:
    work = problem(kind)
    uvs, uv_faces, face_id, verts_hom, faces, seen_id, view, xy_px = work

    def uv_at(places: Tensor) -> Tensor:
        there = barycentrics(verts_hom, faces, view, seen_id, places)
        return (uvs[uv_faces[face_id]] * there[:, :, None]).sum(1)

    uv, derivatives = screen_uvs(*work, backend=backend)
    torch.testing.assert_close(uv, uv_at(xy_px), rtol=1e-9, atol=1e-9)
    step = 1e-3
    steps = step * torch.eye(2, dtype=torch.float64)
    expected = torch.stack([(uv_at(xy_px + d) - uv_at(xy_px - d)) / (2 * step) for d in steps], 2)
    small = (expected.abs() < 1).flatten(1).all(1)  # near the horizon the steps themselves are too long
    assert small.sum() > 120
    torch.testing.assert_close(derivatives[small], expected[small], rtol=1e-3, atol=1e-6)


@every_soup
@both_dtypes
def test_matches_the_reference_in_value_and_gradient(dtype: torch.dtype, kind: str) -> None:
    work = problem(kind, dtype)
    found = with_gradients(work, "numba")
    # The definition in float64: in float32 sums over grazing faces are only as good as float32 can tell.
    precise = tuple(part.double() if part.is_floating_point() else part for part in work)
    expected = with_gradients(precise, "reference")  # type: ignore[arg-type]
    for actual, wanted in zip(found, expected, strict=True):
        if dtype == torch.float64:
            assert_gradients_agree(actual, wanted)
        else:
            assert_gradients_agree(actual, wanted.to(dtype), row_ratio_error_at_most=0.1)


@every_soup
@both_backends
def test_gradients_are_the_derivatives(backend: str, kind: str) -> None:
    work = problem(kind, n_points=24)
    small = screen_uvs(*work)[1].abs().flatten(1).amax(1) < 1
    face_id, seen_id, view, xy_px = (work[index][small] for index in (2, 5, 6, 7))

    def function(uvs: Tensor, verts_hom: Tensor) -> tuple[Tensor, Tensor]:
        seen = (verts_hom, work[4], seen_id, view, xy_px)
        return screen_uvs(uvs, work[1], face_id, *seen, backend=backend)

    leaves = tuple(work[index].clone().requires_grad_() for index in FLOATS)
    assert torch.autograd.gradcheck(function, leaves)


@both_backends
@both_dtypes
def test_finite_however_grazing(backend: str, dtype: torch.dtype) -> None:
    """A floor that is tilted until it is seen exactly edge-on."""
    faces, zero = torch.tensor([[0, 1, 2]]), torch.zeros(1, dtype=torch.int64)
    uvs = torch.tensor([[0.0, 0], [1, 0], [0, 1]], dtype=dtype)
    for height in (1.0, 1e-3, 1e-6, 1e-12, 1e-30, 0.0):
        verts_hom = torch.tensor([[[0.0, 0, 1, 1], [20, 0, 2, 2], [0, 5 * height, 3, 3]]], dtype=dtype)
        place = torch.tensor([[4.0, 0.9 * height]], dtype=dtype)
        results = with_gradients((uvs, faces, zero, verts_hom, faces, zero, zero, place), backend)
        assert_all_finite(results)
        assert float(results[1].abs().max()) <= LARGEST
        assert bool(results[1].any()) == (height > 0)


@both_backends
def test_a_face_seen_exactly_from_the_side_gives_zeros(backend: str) -> None:
    verts = parallel_points(torch.tensor([[[1.0, 1, 1], [2, 2, 1], [5, 5, 1]]]))
    uvs, faces, zero = torch.rand(3, 2), torch.tensor([[0, 1, 2]]), torch.zeros(2, dtype=torch.int64)
    place = torch.tensor([[1.5, 1.5], [3, 1]])
    results = with_gradients((uvs, faces, zero, verts, faces, zero, zero, place), backend)
    assert not any(bool(part.any()) for part in results)


def test_same_bits_for_any_number_of_threads() -> None:
    work = problem("in_front", torch.float32, 100_000)
    assert_same_for_any_threads(lambda: with_gradients(work, "numba"))


@both_backends
@both_dtypes
def test_result_does_not_depend_on_what_memory_held(
    backend: str, dtype: torch.dtype, poisoned_memory: Callable[[], AbstractContextManager[None]]
) -> None:
    work = problem("crossing", dtype)
    expected = with_gradients(work, backend)
    with poisoned_memory():
        found = with_gradients(work, backend)
    assert_same_bits(found, expected)
    assert_all_finite(found)


@both_backends
def test_input_need_not_be_contiguous_and_may_be_empty(backend: str) -> None:
    work = problem()
    wide = tuple(strided(part) for part in work)
    assert_same_bits(with_gradients(wide, backend), with_gradients(work, backend))  # type: ignore[arg-type]
    none = tuple(part[:0] if index in (2, 5, 6, 7) else part for index, part in enumerate(work))
    results = with_gradients(none, backend)  # type: ignore[arg-type]
    assert results[0].shape == (0, 2) and results[1].shape == (0, 2, 2)
    assert results[2].shape == work[0].shape and results[3].shape == work[3].shape
    assert not any(bool(result.any()) for result in results)


@both_backends
def test_only_what_is_wanted_gets_a_gradient(backend: str) -> None:
    work = problem()
    expected = []
    for wanted in ((True, True), (True, False), (False, True)):
        arguments = list(work)
        for index, wants in zip(FLOATS, wanted, strict=True):
            arguments[index] = work[index].detach().clone().requires_grad_(wants)
        uv, derivatives = screen_uvs(*arguments, backend=backend)
        (uv.square().sum() + derivatives.sin().sum()).backward()
        found = [arguments[index].grad for index in FLOATS]
        assert tuple(grad is not None for grad in found) == wanted
        expected = expected or found
        for grad, reference in zip(found, expected, strict=True):
            if grad is not None:
                torch.testing.assert_close(grad, reference)
    assert not screen_uvs(*work, backend=backend)[0].requires_grad


def test_a_second_derivative_is_refused_and_not_zero() -> None:
    work = problem()
    uvs = work[0].clone().requires_grad_()
    (grad,) = torch.autograd.grad(screen_uvs(uvs, *work[1:])[0].square().sum(), uvs, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@both_backends
def test_mistakes_are_named(backend: str) -> None:
    good = problem(n_points=50)
    n_points = len(good[2])
    cases = {
        r"uvs must have shape \[T, 2\]": (0, good[0][:, :1]),
        r"uvs must be float32 or float64": (0, good[0].half()),
        r"uv_faces must have shape \[F, 3\]": (1, good[1][:, :2]),
        r"uv_faces must be int64": (1, good[1].int()),
        r"face_id must be int64": (2, good[2].int()),
        r"verts_hom must have shape \[N, V, 4\]": (3, good[3][0]),
        r"scene_faces must have shape \[F, 3\]": (4, good[4][:, :1]),
        rf"scene_face_id must have shape \[{n_points}\]": (5, good[5][:-1]),
        r"view must be int64": (6, good[6].int()),
        rf"xy_px must have shape \[{n_points}, 2\]": (7, good[7][:-1]),
        r"one dtype": (3, good[3].float()),
        r"one device": (7, good[7].to("meta")),
    }
    for message, (position, wrong) in cases.items():
        arguments = [*good]
        arguments[position] = wrong
        with pytest.raises(ShapeError, match=f"screen_uvs: .*{message}"):
            screen_uvs(*arguments, backend=backend)
    with pytest.raises(BackendError, match="'numba' runs on the CPU"):
        screen_uvs(*(part.to("meta") for part in good), backend="numba")
