from __future__ import annotations

import math

import pytest
import torch
from support.triangle_soups import both_dtypes, every_backend

from diffrender.ops.total_variation import total_variation


@every_backend
@both_dtypes
def test_worked_example(backend: str, dtype: torch.dtype) -> None:
    texels = torch.tensor([[0.0, 3.0], [4.0, 4.0]], dtype=dtype)[..., None].requires_grad_()
    total, number = total_variation(texels, 4.0, backend=backend)
    down_left, down_right, right_above = math.sqrt(32), math.sqrt(17), 5.0  # and 4 for the two that are equal
    assert number.tolist() == 4 and number.dtype == torch.int64
    assert total.item() == pytest.approx(down_left + down_right + right_above + 4 - 4 * 4, rel=1e-6)
    (grad,) = torch.autograd.grad(2 * total, texels)
    expected = [-4 / down_left - 3 / 5, 3 / 5 - 1 / down_right, 4 / down_left, 1 / down_right]
    assert grad.flatten().tolist() == pytest.approx([2 * value for value in expected], rel=1e-6)


@every_backend
def test_the_length_is_that_of_all_channels_together(backend: str) -> None:
    texels = torch.tensor([[[0.0, 1, 2], [2, 3, 3]]], dtype=torch.float64)
    total, number = total_variation(texels, 1e-9, backend=backend)
    assert total.item() == pytest.approx(3) and number.item() == 1  # (2, 2, 1)


@every_backend
def test_only_neighbours_that_are_both_covered_count(backend: str) -> None:
    texels = torch.tensor([[1.0, 2, math.nan], [4, 8, 16]], dtype=torch.float64)[..., None].requires_grad_()
    covered = torch.tensor([[True, True, False], [True, False, True]])
    total, number = total_variation(texels, 1e-9, covered, backend=backend)
    assert total.item() == pytest.approx(1 + 3) and number.item() == 2
    (grad,) = torch.autograd.grad(total, texels)
    assert grad.flatten().tolist() == pytest.approx([-2, 1, 0, 1, 0, 0])


@every_backend
def test_weights_are_of_the_differences_that_begin_at_a_texel(backend: str) -> None:
    texels = torch.tensor([[1.0, 2], [4, 8]], dtype=torch.float64)[..., None]
    weights = torch.tensor([[[10.0, 100], [math.nan, math.nan]], [[1000, math.nan], [10000, math.nan]]]).double()
    total, number = total_variation(texels, 1e-9, weights=weights, backend=backend)
    assert total.item() == pytest.approx(10 * 3 + 100 * 6 + 1000 * 1 + 10000 * 4) and number.item() == 4
