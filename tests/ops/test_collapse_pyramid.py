from __future__ import annotations

import pytest
import torch
from support.triangle_soups import both_dtypes, every_backend

from diffrender.ops.collapse_pyramid import collapse_pyramid
from diffrender.ops.mip_pyramid import mip_pyramid


@every_backend
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    texels = torch.tensor([1.0, 2, 3, 4, 5, 6, 7, 8, 40, 80], dtype=dtype)[:, None].requires_grad_()
    image = collapse_pyramid(texels, 2, 4, 1, 0.5, backend=backend)
    # The coarse row 20, 40 becomes 20, 25, 35, 40.
    assert image[..., 0].tolist() == [[21, 27, 38, 44], [25, 31, 42, 48]]
    (grad,) = torch.autograd.grad(image[:, 1].sum(), texels)
    assert grad.flatten().tolist() == [0, 1, 0, 0, 0, 1, 0, 0, 0.5 * 2 * 0.75, 0.5 * 2 * 0.25]


@every_backend
def test_columns_of_a_closed_image_go_on_at_the_other_side(backend: str) -> None:
    texels = torch.cat([torch.zeros(8), torch.tensor([40.0, 80])])[:, None]
    assert collapse_pyramid(texels, 2, 4, 1, 1.0, True, backend=backend)[0, :, 0].tolist() == [50, 50, 70, 70]


@every_backend
def test_rows_are_clamped_even_if_closed(backend: str) -> None:
    texels = torch.cat([torch.zeros(8), torch.tensor([40.0, 80])])[:, None]
    assert collapse_pyramid(texels, 4, 2, 1, 1.0, True, backend=backend)[:, 0, 0].tolist() == [40, 50, 70, 80]


@every_backend
def test_a_level_of_one_value_stays_one_and_shares_add_up(backend: str) -> None:
    levels = mip_pyramid(torch.ones(8, 16, 2, dtype=torch.float64), 4).texels
    image = collapse_pyramid(levels, 8, 16, 3, 0.25, backend=backend)
    assert image.shape == (8, 16, 2) and torch.allclose(image, torch.full_like(image, 1 + 3 * 0.25))


@pytest.mark.parametrize("closed", [False, True])
def test_a_ramp_stays_a_ramp_inside(closed: bool) -> None:
    ramp = torch.arange(8.0)[None, :, None].expand(8, 8, 1)
    texels = torch.cat([torch.zeros(256, 1), ramp.reshape(-1, 1)])
    row = collapse_pyramid(texels, 16, 16, 1, 1.0, closed)[5, :, 0]
    assert torch.allclose(row[1:-1], torch.arange(16.0)[1:-1] / 2 - 0.25)
