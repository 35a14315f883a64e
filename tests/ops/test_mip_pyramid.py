from __future__ import annotations

import pytest
import torch
from support.op_problems import texels_of
from support.triangle_soups import (
    both_dtypes,
    every_backend,
)
from torch import Tensor

from diffrender.ops.mip_pyramid import mip_pyramid
from diffrender.ops.mip_pyramid.op import level_sizes

SIZES = ((8, 8), (1, 1), (1, 7), (6, 1), (5, 9), (13, 6), (3, 2))
every_size = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")


def with_gradient(texels: Tensor, backend: str, levels: int | None = None) -> tuple[Tensor, Tensor]:
    """All levels, and the gradient of a fixed sum of them."""
    leaf = texels.detach().requires_grad_()
    out = mip_pyramid(leaf, levels, backend=backend).texels
    weight = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).reshape(out.shape).cos()
    return out.detach(), torch.autograd.grad(out, leaf, weight)[0]


@every_backend
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


@every_backend
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
@every_backend
def test_every_level_has_the_mean_of_the_image(backend: str, size: tuple[int, int]) -> None:
    texels = texels_of(*size)
    pyramid = mip_pyramid(texels, backend=backend)
    for index in range(len(pyramid.sizes)):
        level = pyramid.level(index)
        assert level.shape[:2] == pyramid.sizes[index]
        torch.testing.assert_close(level.mean((0, 1)), texels.mean((0, 1)))
    assert torch.equal(pyramid.level(0), texels)


@every_backend
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
@every_backend
def test_several_images_are_one_of_all_their_channels(backend: str, size: tuple[int, int]) -> None:
    whole = texels_of(*size, 6)
    parts = [part.detach().requires_grad_() for part in whole.split([3, 1, 2], 2)]
    expected, expected_gradient = with_gradient(whole, "reference")
    out = mip_pyramid(parts, backend=backend).texels
    torch.testing.assert_close(out, expected)
    weight = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).reshape(out.shape).cos()
    gradients = torch.autograd.grad(out, parts, weight)
    assert all(gradient.is_contiguous() for gradient in gradients) or backend == "reference"
    torch.testing.assert_close(torch.cat(gradients, 2), expected_gradient)


@every_backend
def test_one_level_is_the_image_itself(backend: str) -> None:
    texels = texels_of(4, 6)
    pyramid = mip_pyramid(texels, 1, backend=backend)
    assert pyramid.sizes == ((4, 6),) and pyramid.texels.data_ptr() == texels.data_ptr()
