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
    strided,
)
from torch import Tensor

from diffrender.errors import BackendError, ShapeError
from diffrender.ops.mip_pyramid import mip_pyramid
from diffrender.ops.mip_pyramid.op import level_sizes

SIZES = ((8, 8), (1, 1), (1, 7), (6, 1), (5, 9), (13, 6), (3, 2))
every_size = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")


def image(height: int, width: int, channels: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(100 * height + width)
    return torch.rand(height, width, channels, generator=generator, dtype=torch.float64).to(dtype)


def with_gradient(texels: Tensor, backend: str, levels: int | None = None) -> tuple[Tensor, Tensor]:
    """All levels, and the gradient of a fixed sum of them."""
    leaf = texels.detach().requires_grad_()
    out = mip_pyramid(leaf, levels, backend=backend).texels
    weight = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).reshape(out.shape).cos()
    return out.detach(), torch.autograd.grad(out, leaf, weight)[0]


@both_backends
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    texels = torch.tensor([[1.0, 3, 5, 7], [5, 7, 9, 11]], dtype=dtype)[:, :, None].requires_grad_()
    pyramid = mip_pyramid(texels, backend=backend)
    assert pyramid.sizes == ((2, 4), (1, 2), (1, 1))
    assert pyramid.texels[:, 0].tolist() == [1, 3, 5, 7, 5, 7, 9, 11, 4, 8, 6]
    assert pyramid.level(1).tolist() == [[[4], [8]]]
    weight = torch.zeros(11, 1, dtype=dtype)
    weight[2], weight[8], weight[10] = 10, 4, 8
    (grad,) = torch.autograd.grad(pyramid.texels, texels, weight)
    assert grad[:, :, 0].tolist() == [[2, 2, 11, 1], [2, 2, 1, 1]]  # own, + 4 / 4 on the left, + 8 / 8 everywhere


@both_backends
def test_five_texels_become_two_that_are_two_and_a_half_wide(backend: str) -> None:
    row = torch.tensor([1.0, 2, 4, 8, 16], dtype=torch.float64)
    expected = [(1 + 2 + 4 / 2) / 2.5, (4 / 2 + 8 + 16) / 2.5]
    assert mip_pyramid(row[None, :, None], 2, backend=backend).level(1).flatten().tolist() == pytest.approx(expected)
    assert mip_pyramid(row[:, None, None], 2, backend=backend).level(1).flatten().tolist() == pytest.approx(expected)


def test_sizes() -> None:
    assert level_sizes(8, 8) == ((8, 8), (4, 4), (2, 2), (1, 1))
    assert level_sizes(7, 20) == ((7, 20), (3, 10), (1, 5), (1, 2), (1, 1))
    assert level_sizes(7, 20, 2) == ((7, 20), (3, 10))
    assert level_sizes(1, 1) == ((1, 1),)


@every_size
@both_backends
def test_every_level_has_the_mean_of_the_image(backend: str, size: tuple[int, int]) -> None:
    texels = image(*size)
    pyramid = mip_pyramid(texels, backend=backend)
    for index in range(len(pyramid.sizes)):
        level = pyramid.level(index)
        assert level.shape[:2] == pyramid.sizes[index]
        torch.testing.assert_close(level.mean((0, 1)), texels.mean((0, 1)))
    assert torch.equal(pyramid.level(0), texels)


@both_backends
def test_a_level_does_not_shift_the_image(backend: str) -> None:
    """A ramp stays the same ramp: texels hold the place of their centre, on every level.

    Exactly for even sizes. An odd one counts a part of a texel at the whole texel's centre, a small fraction off.
    """
    for n, in_texels in ((64, 1e-12), (63, 0.05), (45, 0.05)):
        centers = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        pyramid = mip_pyramid(centers[:, None, None].expand(n, 4, 1), 5, backend=backend)
        for index, (height, _) in enumerate(pyramid.sizes):
            expected = (torch.arange(height, dtype=torch.float64) + 0.5) / height
            assert float((pyramid.level(index)[:, 0, 0] - expected).abs().max()) * height < in_texels


@every_size
@both_dtypes
def test_matches_the_reference_in_value_and_gradient(dtype: torch.dtype, size: tuple[int, int]) -> None:
    for channels in (1, 3, 5):
        texels = image(*size, channels, dtype)
        found, expected = with_gradient(texels, "numba"), with_gradient(texels, "reference")
        tolerance = 1e-12 if dtype == torch.float64 else 1e-6
        torch.testing.assert_close(found[0], expected[0], rtol=tolerance, atol=tolerance)
        assert_gradients_agree(found[1], expected[1])


@every_size
@both_backends
def test_several_images_are_one_of_all_their_channels(backend: str, size: tuple[int, int]) -> None:
    whole = image(*size, 6)
    parts = [part.detach().requires_grad_() for part in whole.split([3, 1, 2], 2)]
    expected, expected_gradient = with_gradient(whole, "reference")
    out = mip_pyramid(parts, backend=backend).texels
    torch.testing.assert_close(out, expected)
    weight = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).reshape(out.shape).cos()
    gradients = torch.autograd.grad(out, parts, weight)
    assert all(gradient.is_contiguous() for gradient in gradients) or backend == "reference"
    torch.testing.assert_close(torch.cat(gradients, 2), expected_gradient)


@both_backends
def test_only_what_is_wanted_gets_a_gradient(backend: str) -> None:
    still, learned = image(4, 6, 3), image(4, 6, 1).requires_grad_()
    mip_pyramid([still, learned], backend=backend).texels.sum().backward()
    assert still.grad is None and learned.grad is not None
    assert not mip_pyramid([still, still], backend=backend).texels.requires_grad


@both_backends
def test_gradients_are_the_derivatives(backend: str) -> None:
    texels = image(5, 6, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: mip_pyramid(t, backend=backend).texels, (texels,))


def test_same_bits_for_any_number_of_threads() -> None:
    texels = image(301, 260, 3, torch.float32)
    assert_same_for_any_threads(lambda: with_gradient(texels, "numba"))


@both_backends
def test_result_does_not_depend_on_what_memory_held(
    backend: str, poisoned_memory: Callable[[], AbstractContextManager[None]]
) -> None:
    texels = image(7, 12, 3, torch.float32)
    expected = with_gradient(texels, backend)
    with poisoned_memory():
        found = with_gradient(texels, backend)
    assert_same_bits(found, expected)
    assert_all_finite(found)


@both_backends
def test_input_need_not_be_contiguous(backend: str) -> None:
    texels = image(6, 7)
    assert_same_bits(with_gradient(strided(texels), backend), with_gradient(texels, backend))


@both_backends
def test_one_level_is_the_image_itself(backend: str) -> None:
    texels = image(4, 6)
    pyramid = mip_pyramid(texels, 1, backend=backend)
    assert pyramid.sizes == ((4, 6),) and pyramid.texels.data_ptr() == texels.data_ptr()


def test_a_second_derivative_is_refused_and_not_zero() -> None:
    texels = image(4, 4).requires_grad_()
    out = mip_pyramid(texels).texels
    (grad,) = torch.autograd.grad(out.square().sum(), texels, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@both_backends
def test_mistakes_are_named(backend: str) -> None:
    with pytest.raises(ShapeError, match=r"mip_pyramid: texels must have shape \[H, W, C\]"):
        mip_pyramid(torch.zeros(4, 4), backend=backend)
    with pytest.raises(ShapeError, match="mip_pyramid: texels must be float32 or float64"):
        mip_pyramid(torch.zeros(4, 4, 3, dtype=torch.uint8), backend=backend)
    with pytest.raises(ShapeError, match="mip_pyramid: texels must have at least one pixel"):
        mip_pyramid(torch.zeros(0, 4, 3), backend=backend)
    with pytest.raises(ShapeError, match="mip_pyramid: levels must be at least 1, got 0"):
        mip_pyramid(torch.zeros(4, 4, 3), 0, backend=backend)
    with pytest.raises(ShapeError, match="mip_pyramid: texels must be an image or several, got none"):
        mip_pyramid([], backend=backend)
    with pytest.raises(ShapeError, match=r"mip_pyramid: texels\[1\] must have shape \[4, 4, C\], got \[4, 2, 3\]"):
        mip_pyramid([torch.zeros(4, 4, 3), torch.zeros(4, 2, 3)], backend=backend)
    with pytest.raises(ShapeError, match=r"one dtype, got texels\[0\] torch.float32, texels\[1\] torch.float64"):
        mip_pyramid([torch.zeros(4, 4, 3), torch.zeros(4, 4, 3).double()], backend=backend)
    with pytest.raises(BackendError, match="'numba' runs on the CPU"):
        mip_pyramid(torch.zeros(4, 4, 3, device="meta"), backend="numba")
