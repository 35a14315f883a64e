from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from ops_soups import (
    assert_all_finite,
    assert_same_bits,
    assert_same_for_any_threads,
    both_backends,
    both_dtypes,
    seen_points,
    soup,
    strided,
)
from support.comparators import assert_gradients_agree
from torch import Tensor

from diffrender.errors import BackendError, ShapeError
from diffrender.ops.barycentrics import barycentrics
from diffrender.ops.uv_footprint import uv_footprint
from diffrender.ops.uv_footprint.limits import LARGEST

Work = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
FLOATS = (0, 2, 6)
every_soup = pytest.mark.parametrize("kind", ("in_front", "crossing", "parallel"))


def problem(kind: str = "in_front", dtype: torch.dtype = torch.float64, n_points: int = 300) -> tuple[Work, Tensor]:
    """The op's arguments for points of visible faces, and their places in pixels."""
    verts_hom, faces = soup(kind, 3, dtype=torch.float64)
    view, face_id, place_px = seen_points(verts_hom, faces, n_points)
    bary = barycentrics(verts_hom, faces, view, face_id, place_px)
    generator = torch.Generator().manual_seed(4)
    uvs = torch.rand(50, 2, generator=generator, dtype=torch.float64) * 3 - 1
    uv_faces = torch.randint(50, (len(faces), 3), generator=generator)
    return (verts_hom.to(dtype), faces, uvs.to(dtype), uv_faces, view, face_id, bary.to(dtype)), place_px


def with_gradients(work: Work, backend: str) -> tuple[Tensor, ...]:
    """The derivatives, and the gradients of a fixed sum of them with respect to verts_hom, uvs and bary."""
    arguments = list(work)
    for index in FLOATS:
        arguments[index] = work[index].detach().requires_grad_()
    out = uv_footprint(*arguments, backend=backend)
    weight = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).reshape(out.shape).cos()
    return (out.detach(), *torch.autograd.grad((out * weight).sum(), [arguments[index] for index in FLOATS]))


@both_backends
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    # A triangle with legs of 10 and 5 pixels whose uv runs over the unit square: 1/10 a pixel to the right, 1/5 down.
    flat = torch.tensor([[[0.0, 0, 1, 1], [10, 0, 1, 1], [0, 5, 1, 1]]], dtype=dtype)
    uvs = torch.tensor([[0.0, 0], [1, 0], [0, 1]], dtype=dtype)
    faces, zero = torch.tensor([[0, 1, 2]]), torch.zeros(2, dtype=torch.int64)
    bary = torch.tensor([[1.0, 0, 0], [0.2, 0.3, 0.5]], dtype=dtype)
    found = uv_footprint(flat, faces, uvs, faces, zero, zero, bary, backend=backend)
    torch.testing.assert_close(found, torch.tensor([[[0.1, 0], [0, 0.2]]] * 2, dtype=dtype))
    # The right corner is twice as far away, w = 2. At place x, b_1 = (x / 10) / 2 over (1 - x / 10) + (x / 10) / 2, so
    # u = x / (20 - x) and du/dx = 20 / (20 - x)^2: 1/20 at the left corner and 1/5 at the right one.
    tilted = torch.tensor([[[0.0, 0, 1, 1], [20, 0, 2, 2], [0, 5, 1, 1]]], dtype=dtype)
    bary = torch.tensor([[1.0, 0, 0], [0, 1, 0]], dtype=dtype)
    found = uv_footprint(tilted, faces, uvs, faces, zero, zero, bary, backend=backend)
    assert found[:, 0, 0].tolist() == pytest.approx([1 / 20, 1 / 5])
    assert found[:, 1, 0].tolist() == pytest.approx([0, 0]) and found[0, 1, 1].item() == pytest.approx(0.2)


@every_soup
@both_backends
def test_is_the_derivative_of_the_texture_coordinates(backend: str, kind: str) -> None:
    work, place_px = problem(kind)
    verts_hom, faces, uvs, uv_faces, view, face_id, _ = work

    def uv_at(places: Tensor) -> Tensor:
        there = barycentrics(verts_hom, faces, view, face_id, places)
        return (uvs[uv_faces[face_id]] * there[:, :, None]).sum(1)

    step = 1e-3
    steps = step * torch.eye(2, dtype=torch.float64)
    expected = torch.stack([(uv_at(place_px + d) - uv_at(place_px - d)) / (2 * step) for d in steps], 2)
    small = (expected.abs() < 1).flatten(1).all(1)  # near the horizon the steps themselves are too long
    assert small.sum() > 200
    found = uv_footprint(*work, backend=backend)
    torch.testing.assert_close(found[small], expected[small], rtol=1e-3, atol=1e-6)


@every_soup
@both_dtypes
def test_matches_the_reference_in_value_and_gradient(dtype: torch.dtype, kind: str) -> None:
    work, _ = problem(kind, dtype)
    found, expected = with_gradients(work, "numba"), with_gradients(work, "reference")
    for actual, wanted in zip(found, expected, strict=True):
        if dtype == torch.float64:
            assert_gradients_agree(actual, wanted)
        else:
            assert_gradients_agree(actual, wanted, row_ratio_error_at_most=0.1)


@every_soup
@both_backends
def test_gradients_are_the_derivatives(backend: str, kind: str) -> None:
    work, _ = problem(kind, n_points=12)
    small = uv_footprint(*work).abs().flatten(1).amax(1) < 1
    view, face_id, bary = (part[small] for part in work[4:])

    def function(verts_hom: Tensor, uvs: Tensor, bary: Tensor) -> Tensor:
        return uv_footprint(verts_hom, work[1], uvs, work[3], view, face_id, bary, backend=backend)

    leaves = tuple(part.clone().requires_grad_() for part in (work[0], work[2], bary))
    assert torch.autograd.gradcheck(function, leaves)


@both_backends
@both_dtypes
def test_finite_however_grazing(backend: str, dtype: torch.dtype) -> None:
    """A floor that is tilted until it is seen exactly edge-on."""
    faces, zero = torch.tensor([[0, 1, 2]]), torch.zeros(1, dtype=torch.int64)
    uvs = torch.tensor([[0.0, 0], [1, 0], [0, 1]], dtype=dtype)
    bary = torch.tensor([[0.2, 0.3, 0.5]], dtype=dtype)
    for height in (1.0, 1e-3, 1e-6, 1e-12, 1e-30, 0.0):
        verts_hom = torch.tensor([[[0.0, 0, 1, 1], [20, 0, 2, 2], [0, 5 * height, 3, 3]]], dtype=dtype)
        work = (verts_hom, faces, uvs, faces, zero, zero, bary)
        results = with_gradients(work, backend)
        assert_all_finite(results)
        assert float(results[0].abs().max()) <= LARGEST
        assert bool(results[0].any()) == (height > 0)


def test_same_bits_for_any_number_of_threads() -> None:
    work, _ = problem("in_front", torch.float32, 40_000)
    assert_same_for_any_threads(lambda: with_gradients(work, "numba"))


@both_backends
@both_dtypes
def test_result_does_not_depend_on_what_memory_held(
    backend: str, dtype: torch.dtype, poisoned_memory: Callable[[], AbstractContextManager[None]]
) -> None:
    work, _ = problem("crossing", dtype)
    expected = with_gradients(work, backend)
    with poisoned_memory():
        found = with_gradients(work, backend)
    assert_same_bits(found, expected)
    assert_all_finite(found)


@both_backends
def test_input_need_not_be_contiguous_and_may_be_empty(backend: str) -> None:
    work, _ = problem()
    wide = tuple(strided(part) for part in work)
    assert_same_bits(with_gradients(wide, backend), with_gradients(work, backend))  # type: ignore[arg-type]
    none = (*work[:4], *(part[:0] for part in work[4:]))
    results = with_gradients(none, backend)  # type: ignore[arg-type]
    assert results[0].shape == (0, 2, 2) and results[3].shape == (0, 3)
    assert not any(bool(result.any()) for result in results)


@both_backends
def test_only_what_is_wanted_gets_a_gradient(backend: str) -> None:
    work, _ = problem()
    expected = with_gradients(work, backend)
    for wanted in range(3):
        arguments = [part.detach().clone().requires_grad_(i == FLOATS[wanted]) for i, part in enumerate(work)]
        out = uv_footprint(*arguments, backend=backend)
        weight = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).reshape(out.shape).cos()
        (out * weight).sum().backward()
        assert [arguments[i].grad is not None for i in FLOATS] == [i == wanted for i in range(3)]
        torch.testing.assert_close(arguments[FLOATS[wanted]].grad, expected[1 + wanted])


@both_backends
def test_mistakes_are_named(backend: str) -> None:
    work, _ = problem(n_points=5)
    verts_hom, faces, uvs, uv_faces, view, face_id, bary = work
    cases = {
        r"verts_hom must have shape \[N, V, 4\]": (verts_hom[0], *work[1:]),
        r"uvs must have shape \[T, 2\]": (verts_hom, faces, uvs[:, :1], uv_faces, view, face_id, bary),
        r"uv_faces must have shape \[60, 3\]": (verts_hom, faces, uvs, uv_faces[:4], view, face_id, bary),
        r"bary must have shape \[5, 3\]": (verts_hom, faces, uvs, uv_faces, view, face_id, bary[:4]),
        r"view must be int64": (verts_hom, faces, uvs, uv_faces, view.int(), face_id, bary),
        r"one dtype": (verts_hom.float(), *work[1:]),
        r"one device": (*work[:6], bary.to("meta")),
    }
    for message, arguments in cases.items():
        with pytest.raises(ShapeError, match=f"uv_footprint: .*{message}"):
            uv_footprint(*arguments, backend=backend)
    with pytest.raises(BackendError, match="'numba' runs on the CPU"):
        uv_footprint(*(part.to("meta") for part in work), backend="numba")  # type: ignore[arg-type]
