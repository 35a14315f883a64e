from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import pytest
import torch
from support.comparators import assert_gradients_agree
from support.triangle_soups import (
    HEIGHT,
    WIDTH,
    assert_all_finite,
    assert_same_bits,
    assert_same_for_any_threads,
    both_backends,
    both_dtypes,
    contours_of,
    parallel_points,
    raster_of,
    soup,
    strided,
)
from torch import Tensor

from diffrender.errors import BackendError, ShapeError
from diffrender.ops.antialias import VisibleSegments, antialias

NO_OUTLINES = VisibleSegments(
    torch.zeros(0).long(), torch.zeros(0).long(), torch.zeros(0, 3), torch.zeros(0, 2), torch.zeros(0)
)
ONE = torch.tensor([[0, 1, 2]])


class Work(NamedTuple):
    """The arguments of antialias."""

    radiance: Tensor
    jump: Tensor
    verts_hom: Tensor
    faces: Tensor
    pixel: Tensor
    weight: Tensor
    outlines: VisibleSegments
    background: Tensor
    size: tuple[int, int, int]


def problem(kind: str, dtype: torch.dtype, n_views: int = 2, n_faces: int = 60) -> Work:
    """Samples and outlines of a soup, with radiances and jumps at random."""
    verts, faces = soup(kind, 6, n_views=n_views, n_faces=n_faces, dtype=dtype)
    generator = torch.Generator().manual_seed(0)
    face_id = raster_of(verts, faces, "numba").face_id.reshape(-1)
    pixel = torch.nonzero(face_id >= 0)[:, 0]
    pixel = pixel.repeat_interleave(torch.randint(0, 5, (len(pixel),), generator=generator))
    lines = contours_of(verts, faces, "numba")
    return Work(
        torch.rand(len(pixel), 3, generator=generator, dtype=dtype),
        torch.randn(len(lines.pixel), 4, generator=generator, dtype=dtype),
        verts,
        faces,
        pixel,
        torch.rand(len(pixel), generator=generator, dtype=dtype),
        VisibleSegments(
            lines.pixel, lines.face, lines.bary, lines.normal_px, torch.linspace(-1, 1, len(lines.pixel), dtype=dtype)
        ),
        torch.rand(3, generator=generator, dtype=dtype),
        (n_views, HEIGHT, WIDTH),
    )


def with_gradients(work: Work, backend: str, square: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The image, and gradients with respect to radiance, vertices and background: of a fixed or of the squared sum."""
    leaves = [part.detach().clone().requires_grad_() for part in (work.radiance, work.verts_hom, work.background)]
    image = antialias(*work._replace(radiance=leaves[0], verts_hom=leaves[1], background=leaves[2]), backend=backend)
    weight = image if square else torch.linspace(-1, 2, image.numel(), dtype=image.dtype).reshape(image.shape).cos()
    return (image.detach(), *torch.autograd.grad((image * weight).sum(), leaves))  # type: ignore[return-value]


@both_backends
@both_dtypes
def test_worked_example_of_the_image(backend: str, dtype: torch.dtype) -> None:
    # Two views of one row of two pixels: one sample, a quarter of one and a half of another, nothing, one; the rest is
    # background.
    work = Work(
        torch.tensor([[1, 2], [4, 8], [2, 6], [5, 7]], dtype=dtype),
        torch.zeros(0, 3, dtype=dtype),
        torch.zeros(2, 3, 4, dtype=dtype),
        ONE,
        torch.tensor([0, 1, 1, 3]),
        torch.tensor([1, 0.25, 0.5, 1], dtype=dtype),
        NO_OUTLINES,
        torch.tensor([8, 16], dtype=dtype),
        (2, 1, 2),
    )
    image = antialias(*work, backend=backend)
    assert image.tolist() == [[[[1, 2, 1], [4, 9, 0.75]]], [[[8, 16, 0], [5, 7, 1]]]]
    assert image.dtype == dtype


@both_backends
@both_dtypes
def test_worked_example_of_an_outline_that_moves(backend: str, dtype: torch.dtype) -> None:
    # The vertical edge from (3, 0), with w = 2, to (3, 4), with w = 1, of a front to its left. Half a pixel of it lies
    # in pixel (row 1, column 3), half way along the edge in space: 1/2 (6, 0, 2) + 1/2 (3, 4, 1) = 1.5 (3, 4/3, 1).
    verts = torch.tensor([[[6, 0, 2, 2], [3, 4, 1, 1], [0, 0, 1, 1]]], dtype=dtype).requires_grad_()
    bary, normal = torch.tensor([[0.5, 0.5, 0]], dtype=dtype), torch.tensor([[0.5, 0]], dtype=dtype)
    piece = torch.tensor([1 * 4 + 3])
    depth_weight = torch.tensor([0.5], dtype=dtype)
    outlines = VisibleSegments(piece, torch.tensor([0]), bary, normal, depth_weight)
    jump = torch.tensor([[0.2, 1]], dtype=dtype)
    none = torch.zeros(0, 1, dtype=dtype)
    gray = torch.full((1,), 0.5, dtype=dtype)
    image = antialias(none, jump, verts, ONE, piece[:0], none[:, 0], outlines, gray, (1, 2, 4), backend=backend)
    assert image.tolist() == [[[[0.5, 0]] * 4] * 2]  # outlines have a gradient and no value
    upstream = torch.zeros(1, 2, 4, 2, dtype=dtype)
    upstream[0, 1, 3] = torch.tensor([10, 3])
    (grad,) = torch.autograd.grad(image, verts, upstream)
    # Moving outwards by d is worth d x 0.5 px x (10 x 0.2 + 3 x 1) = 2.5 d. The middle is x w / w with w = 1.5: each of
    # the two corners moves it by half of (d xw - 3 dw) / 1.5, and raises it by half of d depth, worth 0.5 x 5.
    expected = torch.tensor([[2.5 / 3, 0, -2.5, 1.25], [2.5 / 3, 0, -2.5, 1.25], [0, 0, 0, 0]], dtype=dtype)
    torch.testing.assert_close(grad[0], expected)


@both_backends
def test_a_square_that_grows_gains_its_outline(backend: str) -> None:
    verts = parallel_points(torch.tensor([[5.3, 7, 2], [15.3, 7, 2], [15.3, 17, 2], [5.3, 17, 2]]))[None]
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    lines = contours_of(verts, faces, backend)
    outlines = VisibleSegments(lines.pixel, lines.face, lines.bary, lines.normal_px, torch.zeros_like(lines.bary[:, 0]))
    jump, none = torch.ones(len(lines.pixel), 2), torch.zeros(0, 1)
    work = Work(none, jump, verts.requires_grad_(), faces, outlines.pixel[:0], none[:, 0], outlines, jump[0, :1],
                (1, HEIGHT, WIDTH))  # fmt: skip
    image = antialias(*work, backend=backend)
    (grad,) = torch.autograd.grad(image[..., 1].sum(), verts)  # of the covered area, in square pixels
    # A side of 10 px gains 10 square px a pixel, half of it through each of its ends.
    expected = torch.tensor([[-5.0, -5], [5, -5], [5, 5], [-5, 5]])
    torch.testing.assert_close(grad[0, :, :2], expected, rtol=1e-5, atol=1e-5)
    # Only the column of pixels through which a side runs feels it: 1 px of outline in each.
    (grad,) = torch.autograd.grad(antialias(*work, backend=backend)[0, 9, 15, 1], verts)
    assert float(grad[0, :, 0].sum()) == pytest.approx(1, rel=1e-5)


@both_dtypes
@pytest.mark.parametrize("kind", ["in_front", "crossing", "parallel", "degenerate"])
def test_matches_the_reference_in_value_and_gradient(kind: str, dtype: torch.dtype) -> None:
    work = problem(kind, dtype)
    assert len(work.outlines.pixel) > 5
    found, expected = with_gradients(work, "numba"), with_gradients(work, "reference")
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(found[0], expected[0], rtol=tolerance, atol=tolerance)
    for actual, wanted in zip(found[1:], expected[1:], strict=True):
        assert_gradients_agree(actual, wanted, relative_l2_at_most=1e-4 if dtype == torch.float32 else 1e-9)


@both_backends
def test_gradient_of_radiance_and_background_is_the_derivative(backend: str) -> None:
    work = problem("in_front", torch.float64, n_views=1, n_faces=2)
    work = work._replace(radiance=work.radiance[:40], pixel=work.pixel[:40], weight=work.weight[:40])
    torch.autograd.gradcheck(
        lambda radiance, background: antialias(
            *work._replace(radiance=radiance, background=background), backend=backend
        ),
        (work.radiance.requires_grad_(), work.background.requires_grad_()),
    )


@both_backends
def test_gradient_of_the_vertices_is_the_derivative_of_the_moved_outlines(backend: str) -> None:
    # Independent of both implementations: move a vertex, see how far the middles of the pieces go along the normals
    # and in depth.
    work = problem("in_front", torch.float64, n_views=1, n_faces=6)
    grad = with_gradients(work, backend)[2]
    weight = torch.linspace(-1, 2, HEIGHT * WIDTH * 4, dtype=torch.float64).reshape(-1, 4).cos()
    worth = (weight[work.outlines.pixel] * work.jump).sum(1)
    corners = work.faces[work.outlines.face]

    def place(verts: Tensor) -> Tensor:
        middle = (verts[0, corners] * work.outlines.bary[:, :, None]).sum(1)
        return torch.cat([middle[:, :2] / middle[:, 2:3], middle[:, 3:]], 1)

    sweep = torch.cat([work.outlines.normal_px, work.outlines.depth_weight[:, None]], 1)
    step = 1e-6
    for vertex in range(work.verts_hom.shape[1]):
        for axis in range(4):
            moved = torch.zeros_like(work.verts_hom)
            moved[0, vertex, axis] = step
            motion = (place(work.verts_hom + moved) - place(work.verts_hom - moved)) / (2 * step)
            expected = float((worth * (motion * sweep).sum(1)).sum())
            assert float(grad[0, vertex, axis]) == pytest.approx(expected, rel=1e-5, abs=1e-5)


@both_backends
def test_only_what_is_wanted_gets_a_gradient_and_the_jump_never(backend: str) -> None:
    work = problem("in_front", torch.float32)
    for wanted in ("radiance", "verts_hom", "background"):
        names = ("radiance", "verts_hom", "background", "jump")
        leaves = {name: getattr(work, name).clone().requires_grad_(name in (wanted, "jump")) for name in names}
        antialias(*work._replace(**leaves), backend=backend).sum().backward()
        assert {name for name in names[:3] if leaves[name].grad is not None} == {wanted}
        assert leaves["jump"].grad is None or not bool(leaves["jump"].grad.any())


@both_backends
def test_an_outline_of_pure_rounding_is_not_moved(backend: str) -> None:
    # Corner 0 as far behind the camera as corner 1 is before it: rounded to float32, the place on
    # the near plane is at w = 0.
    verts = torch.tensor([[[0.0, 0, -1, -1], [1, 1, 1, 1], [0, 1, 1, 1]]]).requires_grad_()
    zero = torch.tensor([0])
    for share in (0.5, 0.5 - 1e-7, 0.5 + 1e-7):
        bary = torch.tensor([[share, 1 - share, 0]])
        outlines = VisibleSegments(zero, zero, bary, torch.tensor([[0.2, 0.1]]), torch.tensor([1.0]))
        work = Work(
            torch.rand(1, 3), torch.ones(1, 4), verts, ONE, zero, torch.ones(1), outlines, torch.rand(3), (1, 1, 1)
        )
        image = antialias(*work, backend=backend)
        (grad,) = torch.autograd.grad(image.sum(), verts)
        assert not bool(grad.any())


def test_same_bits_for_any_number_of_threads() -> None:
    work = problem("in_front", torch.float32)
    assert_same_for_any_threads(lambda: with_gradients(work, "numba"))
    # So many samples that several threads share them; runs of one pixel reach over the ends of their pieces.
    pixel = torch.arange(40_000) // 7
    radiance = torch.rand(40_000, 3)
    many = work._replace(radiance=radiance, pixel=pixel, weight=radiance[:, 0], size=(2, 60, 60))
    assert_same_for_any_threads(lambda: with_gradients(many, "numba"))


def test_a_pixel_with_more_samples_than_a_thread_takes_at_a_time() -> None:
    radiance = torch.rand(60_000, 3, dtype=torch.float64)
    pixel = torch.ones(60_000, dtype=torch.int64)
    pixel[:5], pixel[50_000:] = 0, 2
    work = problem("in_front", torch.float64)._replace(radiance=radiance, pixel=pixel, weight=radiance[:, 0] / 60_000)
    for n_threads in (1, 2, 4):
        torch.set_num_threads(n_threads)
        torch.testing.assert_close(antialias(*work, backend="numba"), antialias(*work, backend="reference"))


@both_backends
@both_dtypes
def test_views_together_are_the_views_one_by_one(backend: str, dtype: torch.dtype) -> None:
    work = problem("crossing", dtype, n_views=3)
    image, grad_radiance, grad_verts, _ = with_gradients(work, backend, square=True)
    n_pixels = HEIGHT * WIDTH
    for n in range(3):
        samples, pieces = work.pixel // n_pixels == n, work.outlines.pixel // n_pixels == n
        outlines = VisibleSegments(*(part[pieces] for part in work.outlines))
        alone = Work(
            work.radiance[samples], work.jump[pieces], work.verts_hom[n : n + 1], work.faces,
            work.pixel[samples] - n * n_pixels, work.weight[samples],
            outlines._replace(pixel=outlines.pixel - n * n_pixels), work.background, (1, HEIGHT, WIDTH),
        )  # fmt: skip
        together = (image[n : n + 1], grad_radiance[samples], grad_verts[n : n + 1])
        assert_same_bits(together, with_gradients(alone, backend, square=True)[:3])


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
def test_input_need_not_be_contiguous(backend: str) -> None:
    work = problem("in_front", torch.float32)
    tensors = Work(*(strided(part) if isinstance(part, Tensor) else part for part in work))
    tensors = tensors._replace(outlines=VisibleSegments(*(strided(part) for part in work.outlines)))
    assert_same_bits(with_gradients(tensors, backend), with_gradients(work, backend))
    verts = work.verts_hom.clone().requires_grad_()  # a gradient of the image that is expanded and one that is cropped
    for loss in (lambda image: image.sum(), lambda image: image[..., 1:2].square().sum()):
        image = antialias(*work._replace(verts_hom=verts), backend=backend)
        assert_all_finite(torch.autograd.grad(loss(image), verts))


@both_backends
def test_nothing_to_draw(backend: str) -> None:
    work = problem("in_front", torch.float32)
    empty = work._replace(
        radiance=work.radiance[:0],
        jump=work.jump[:0],
        pixel=work.pixel[:0],
        weight=work.weight[:0],
        outlines=NO_OUTLINES,
    )
    for case in (empty, empty._replace(faces=work.faces[:0])):
        image, grad_radiance, grad_verts, grad_background = with_gradients(case, backend)
        assert image.shape == (2, HEIGHT, WIDTH, 4) and not bool(image[..., 3].any())
        assert torch.equal(image[..., :3], work.background.expand(2, HEIGHT, WIDTH, 3))
        assert grad_radiance.shape == (0, 3) and not bool(grad_verts.any()) and bool(grad_background.any())


def test_a_second_derivative_is_refused_and_not_zero() -> None:
    work = problem("in_front", torch.float64)
    verts = work.verts_hom.clone().requires_grad_()
    image = antialias(*work._replace(verts_hom=verts, radiance=work.radiance.requires_grad_()))
    (grad,) = torch.autograd.grad(image.square().sum(), verts, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@both_backends
def test_mistakes_are_named(backend: str) -> None:
    work = problem("in_front", torch.float32)
    n_samples, n_pieces = len(work.pixel), len(work.jump)
    cases: dict[str, dict[str, Any]] = {
        r"radiance must have shape \[M, C\]": {"radiance": work.radiance[0]},
        r"radiance must be float32 or float64": {"radiance": work.radiance.half()},
        r"background must have shape \[3\]": {"background": work.background[:2]},
        rf"jump must have shape \[{n_pieces}, 4\]": {"jump": work.jump[:, :3]},
        r"verts_hom must have shape \[2, V, 4\]": {"verts_hom": work.verts_hom[:1]},
        r"faces must be int64": {"faces": work.faces.int()},
        r"pixel must be int64": {"pixel": work.pixel.int()},
        rf"pixel must have shape \[{n_samples}\]": {"pixel": work.pixel[1:]},
        rf"weight must have shape \[{n_samples}\]": {"weight": work.weight[1:]},
        r"one dtype, got radiance torch.float32, jump torch.float32, verts_hom torch.float64": {
            "verts_hom": work.verts_hom.double()
        },
        r"one device": {"pixel": work.pixel.to("meta")},
    }
    for message, change in cases.items():
        with pytest.raises(ShapeError, match=f"antialias: .*{message}"):
            antialias(*work._replace(**change), backend=backend)
    meta = Work(*(part.to("meta") if isinstance(part, Tensor) else part for part in work))
    with pytest.raises(BackendError, match="'numba' runs on the CPU"):
        antialias(*meta, backend="numba")
