from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from support.op_problems import antialias_problem
from support.triangle_soups import (
    HEIGHT,
    WIDTH,
    assert_same_bits,
    both_dtypes,
    every_backend,
    parallel_points,
    segments_of,
)
from torch import Tensor

from diffrender.ops.antialias import VisibleSegments, antialias

ONE = torch.tensor([[0, 1, 2]])


class Work(NamedTuple):
    """The arguments of antialias."""

    radiance: Tensor
    jump: Tensor
    verts_hom: Tensor
    faces: Tensor
    pixel: Tensor
    weight: Tensor
    segments: VisibleSegments
    background: Tensor
    size: tuple[int, int, int]


def no_segments(dtype: torch.dtype) -> VisibleSegments:
    none, number = torch.zeros(0, dtype=torch.int64), torch.zeros(0, 3, dtype=dtype)
    return VisibleSegments(none, none, number, number[:, :2], number[:, 0])


def with_gradients(work: Work, backend: str, square: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The image, and gradients with respect to radiance, vertices and background: of a fixed or of the squared sum."""
    leaves = [part.detach().clone().requires_grad_() for part in (work.radiance, work.verts_hom, work.background)]
    image = antialias(*work._replace(radiance=leaves[0], verts_hom=leaves[1], background=leaves[2]), backend=backend)
    weight = image if square else torch.linspace(-1, 2, image.numel(), dtype=image.dtype).reshape(image.shape).cos()
    return (image.detach(), *torch.autograd.grad((image * weight).sum(), leaves))  # type: ignore[return-value]


@every_backend
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
        no_segments(dtype),
        torch.tensor([8, 16], dtype=dtype),
        (2, 1, 2),
    )
    image = antialias(*work, backend=backend)
    assert image.tolist() == [[[[1, 2, 1], [4, 9, 0.75]]], [[[8, 16, 0], [5, 7, 1]]]]
    assert image.dtype == dtype


@every_backend
@both_dtypes
def test_worked_example_of_an_outline_that_moves(backend: str, dtype: torch.dtype) -> None:
    # The vertical edge from (3, 0), with w = 2, to (3, 4), with w = 1, of a front to its left. Half a pixel of it lies
    # in pixel (row 1, column 3), half way along the edge in space: 1/2 (6, 0, 2) + 1/2 (3, 4, 1) = 1.5 (3, 4/3, 1).
    verts = torch.tensor([[[6, 0, 2, 2], [3, 4, 1, 1], [0, 0, 1, 1]]], dtype=dtype).requires_grad_()
    bary, normal = torch.tensor([[0.5, 0.5, 0]], dtype=dtype), torch.tensor([[0.5, 0]], dtype=dtype)
    piece = torch.tensor([1 * 4 + 3])
    depth_weight = torch.tensor([0.5], dtype=dtype)
    segments = VisibleSegments(piece, torch.tensor([0]), bary, normal, depth_weight)
    jump = torch.tensor([[0.2, 1]], dtype=dtype)
    none = torch.zeros(0, 1, dtype=dtype)
    gray = torch.full((1,), 0.5, dtype=dtype)
    image = antialias(none, jump, verts, ONE, piece[:0], none[:, 0], segments, gray, (1, 2, 4), backend=backend)
    assert image.tolist() == [[[[0.5, 0]] * 4] * 2]  # outlines have a gradient and no value
    upstream = torch.zeros(1, 2, 4, 2, dtype=dtype)
    upstream[0, 1, 3] = torch.tensor([10, 3])
    (grad,) = torch.autograd.grad(image, verts, upstream)
    # Moving outwards by d is worth d x 0.5 px x (10 x 0.2 + 3 x 1) = 2.5 d. The middle is x w / w with w = 1.5: each of
    # the two corners moves it by half of (d xw - 3 dw) / 1.5, and raises it by half of d depth, worth 0.5 x 5.
    expected = torch.tensor([[2.5 / 3, 0, -2.5, 1.25], [2.5 / 3, 0, -2.5, 1.25], [0, 0, 0, 0]], dtype=dtype)
    torch.testing.assert_close(grad[0], expected)


@every_backend
def test_a_square_that_grows_gains_its_outline(backend: str) -> None:
    verts = parallel_points(torch.tensor([[5.3, 7, 2], [15.3, 7, 2], [15.3, 17, 2], [5.3, 17, 2]]))[None]
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    lines = segments_of(verts, faces, backend)
    segments = VisibleSegments(lines.pixel, lines.face, lines.bary, lines.normal_px, torch.zeros_like(lines.bary[:, 0]))
    jump, none = torch.ones(len(lines.pixel), 2), torch.zeros(0, 1)
    work = Work(none, jump, verts.requires_grad_(), faces, segments.pixel[:0], none[:, 0], segments, jump[0, :1],
                (1, HEIGHT, WIDTH))  # fmt: skip
    image = antialias(*work, backend=backend)
    (grad,) = torch.autograd.grad(image[..., 1].sum(), verts)  # of the covered area, in square pixels
    # A side of 10 px gains 10 square px a pixel, half of it through each of its ends.
    expected = torch.tensor([[-5.0, -5], [5, -5], [5, 5], [-5, 5]])
    torch.testing.assert_close(grad[0, :, :2], expected, rtol=1e-5, atol=1e-5)
    # Only the column of pixels through which a side runs feels it: 1 px of outline in each.
    (grad,) = torch.autograd.grad(antialias(*work, backend=backend)[0, 9, 15, 1], verts)
    assert float(grad[0, :, 0].sum()) == pytest.approx(1, rel=1e-5)


@every_backend
def test_gradient_of_the_vertices_is_the_derivative_of_the_moved_outlines(backend: str) -> None:
    # Independent of both implementations: move a vertex, see how far the middles of the pieces go along the normals
    # and in depth.
    work = Work(*antialias_problem("in_front", torch.float64, n_views=1, n_faces=6))
    grad = with_gradients(work, backend)[2]
    weight = torch.linspace(-1, 2, HEIGHT * WIDTH * 4, dtype=torch.float64).reshape(-1, 4).cos()
    worth = (weight[work.segments.pixel] * work.jump).sum(1)
    corners = work.faces[work.segments.face]

    def xy(verts: Tensor) -> Tensor:
        middle = (verts[0, corners] * work.segments.bary[:, :, None]).sum(1)
        return torch.cat([middle[:, :2] / middle[:, 2:3], middle[:, 3:]], 1)

    sweep = torch.cat([work.segments.normal_px, work.segments.depth_weight[:, None]], 1)
    step = 1e-6
    for vertex in range(work.verts_hom.shape[1]):
        for axis in range(4):
            moved = torch.zeros_like(work.verts_hom)
            moved[0, vertex, axis] = step
            motion = (xy(work.verts_hom + moved) - xy(work.verts_hom - moved)) / (2 * step)
            expected = float((worth * (motion * sweep).sum(1)).sum())
            assert float(grad[0, vertex, axis]) == pytest.approx(expected, rel=1e-5, abs=1e-5)


@every_backend
def test_an_outline_of_pure_rounding_is_not_moved(backend: str) -> None:
    # Corner 0 as far behind the camera as corner 1 is before it: rounded to float32, the place on
    # the near plane is at w = 0.
    verts = torch.tensor([[[0.0, 0, -1, -1], [1, 1, 1, 1], [0, 1, 1, 1]]]).requires_grad_()
    zero = torch.tensor([0])
    for share in (0.5, 0.5 - 1e-7, 0.5 + 1e-7):
        bary = torch.tensor([[share, 1 - share, 0]])
        segments = VisibleSegments(zero, zero, bary, torch.tensor([[0.2, 0.1]]), torch.tensor([1.0]))
        work = Work(
            torch.rand(1, 3), torch.ones(1, 4), verts, ONE, zero, torch.ones(1), segments, torch.rand(3), (1, 1, 1)
        )
        image = antialias(*work, backend=backend)
        (grad,) = torch.autograd.grad(image.sum(), verts)
        assert not bool(grad.any())


def test_a_pixel_with_more_samples_than_a_thread_takes_at_a_time() -> None:
    radiance = torch.rand(60_000, 3, dtype=torch.float64)
    pixel = torch.ones(60_000, dtype=torch.int64)
    pixel[:5], pixel[50_000:] = 0, 2
    work = Work(*antialias_problem("in_front", torch.float64))._replace(
        radiance=radiance, pixel=pixel, weight=radiance[:, 0] / 60_000
    )
    for n_threads in (1, 2, 4):
        torch.set_num_threads(n_threads)
        torch.testing.assert_close(antialias(*work, backend="numba"), antialias(*work, backend="reference"))


@every_backend
@both_dtypes
def test_views_together_are_the_views_one_by_one(backend: str, dtype: torch.dtype) -> None:
    work = Work(*antialias_problem("crossing", dtype, n_views=3))
    image, grad_radiance, grad_verts, _ = with_gradients(work, backend, square=True)
    n_pixels = HEIGHT * WIDTH
    for n in range(3):
        samples, pieces = work.pixel // n_pixels == n, work.segments.pixel // n_pixels == n
        segments = VisibleSegments(*(part[pieces] for part in work.segments))
        alone = Work(
            work.radiance[samples], work.jump[pieces], work.verts_hom[n : n + 1], work.faces,
            work.pixel[samples] - n * n_pixels, work.weight[samples],
            segments._replace(pixel=segments.pixel - n * n_pixels), work.background, (1, HEIGHT, WIDTH),
        )  # fmt: skip
        together = (image[n : n + 1], grad_radiance[samples], grad_verts[n : n + 1])
        assert_same_bits(together, with_gradients(alone, backend, square=True)[:3])


@every_backend
def test_nothing_to_draw(backend: str) -> None:
    work = Work(*antialias_problem("in_front", torch.float32))
    empty = work._replace(
        radiance=work.radiance[:0],
        jump=work.jump[:0],
        pixel=work.pixel[:0],
        weight=work.weight[:0],
        segments=no_segments(torch.float32),
    )
    for case in (empty, empty._replace(faces=work.faces[:0])):
        image, grad_radiance, grad_verts, grad_background = with_gradients(case, backend)
        assert image.shape == (2, HEIGHT, WIDTH, 4) and not bool(image[..., 3].any())
        assert torch.equal(image[..., :3], work.background.expand(2, HEIGHT, WIDTH, 3))
        assert grad_radiance.shape == (0, 3) and not bool(grad_verts.any()) and bool(grad_background.any())
