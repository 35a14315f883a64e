"""The comparators reject every kind of wrong gradient."""

import pytest
import torch
from support.comparators import (
    assert_gradients_agree,
    cosine,
    relative_l2,
    row_ratios,
    signed_bias,
)

FLOAT_TYPES = (torch.float32, torch.float64)


@pytest.fixture(params=FLOAT_TYPES, ids=str)
def gradient(request):
    return torch.randn(500, 3, generator=torch.Generator().manual_seed(0), dtype=request.param)


def test_equal_gradients_and_rounding_errors_pass(gradient):
    assert_gradients_agree(gradient, gradient.clone())
    assert_gradients_agree(gradient * (1 + 4 * torch.finfo(gradient.dtype).eps), gradient)


def test_a_missing_gradient_in_one_row_of_many_is_rejected(gradient):
    broken = gradient.clone()
    broken[137] = 0
    with pytest.raises(AssertionError, match="row 137 is 0 times"):
        # All other bounds are loose: the row alone must be enough.
        assert_gradients_agree(broken, gradient, cosine_at_least=-1, relative_l2_at_most=9, bias_at_most=9)
    with pytest.raises(AssertionError):
        assert_gradients_agree(broken, gradient)


def test_a_small_row_is_not_lost_among_large_ones(gradient):
    expected = gradient.clone()
    expected[7] *= 0.02
    broken = expected.clone()
    broken[7] *= 2
    with pytest.raises(AssertionError, match="row 7"):
        assert_gradients_agree(broken, expected, cosine_at_least=0.9, relative_l2_at_most=0.1, bias_at_most=0.1)


@pytest.mark.parametrize("tiny", [1.0, 1e-12])
def test_a_zero_gradient_is_rejected_however_small_the_expected_one(gradient, tiny):
    with pytest.raises(AssertionError, match="cosine 0"):
        assert_gradients_agree(torch.zeros_like(gradient), tiny * gradient)


def test_a_nonzero_gradient_is_rejected_if_zero_is_expected(gradient):
    assert_gradients_agree(torch.zeros_like(gradient), torch.zeros_like(gradient))
    with pytest.raises(AssertionError, match="must be zero"):
        assert_gradients_agree(1e-12 * gradient, torch.zeros_like(gradient))


def test_a_flipped_sign_is_rejected(gradient):
    with pytest.raises(AssertionError, match="cosine -1"):
        assert_gradients_agree(-gradient, gradient, relative_l2_at_most=9, bias_at_most=9)


@pytest.mark.parametrize("factor", [1.1, 0.9])
def test_a_scale_error_of_ten_percent_is_rejected_by_each_measure_alone(gradient, factor):
    scaled = factor * gradient
    assert cosine(scaled, gradient) == pytest.approx(1)  # the direction alone does not show it
    for loose in (
        {"bias_at_most": 9, "row_ratio_error_at_most": 9},
        {"relative_l2_at_most": 9, "row_ratio_error_at_most": 9},
        {"relative_l2_at_most": 9, "bias_at_most": 9},
    ):
        with pytest.raises(AssertionError):
            assert_gradients_agree(scaled, gradient, **loose)


def test_gradients_that_are_not_finite_absent_or_misshapen_are_rejected(gradient):
    broken = gradient.clone()
    broken[3, 1] = torch.nan
    with pytest.raises(AssertionError, match=r"not finite at \[3, 1\]"):
        assert_gradients_agree(broken, gradient)
    with pytest.raises(AssertionError, match="expected gradient is not finite"):
        assert_gradients_agree(gradient, broken)
    with pytest.raises(AssertionError, match="there is none"):
        assert_gradients_agree(None, gradient)
    with pytest.raises(AssertionError, match="shape"):
        assert_gradients_agree(gradient[:, :1], gradient)


def test_measures_by_hand():
    expected = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    actual = torch.tensor([[3.0, 4.0], [0.0, 5.0]])
    assert cosine(actual, expected) == pytest.approx(5 / 50**0.5)
    assert relative_l2(actual, expected) == pytest.approx(1.0)
    assert signed_bias(actual, expected) == pytest.approx(0.0)
    assert signed_bias(1.1 * expected, expected) == pytest.approx(0.1)
    assert signed_bias(-expected, expected) == pytest.approx(-2.0)
    assert relative_l2(expected, torch.zeros_like(expected)) == float("inf")
    rows, ratios = row_ratios(2 * actual, expected)
    assert rows.tolist() == [0] and ratios.tolist() == [2.0]


def test_scalars_are_compared():
    assert_gradients_agree(torch.tensor(2.0), torch.tensor(2.0))
    with pytest.raises(AssertionError):
        assert_gradients_agree(torch.tensor(2.2), torch.tensor(2.0))


def test_poisoned_memory_shows_entries_that_were_not_written(poisoned_memory):
    import numpy as np

    with poisoned_memory():
        assert torch.empty(3).isnan().all() and torch.empty_like(torch.ones(2)).isnan().all()
        assert torch.ones(1).new_empty(2).isnan().all() and np.isnan(np.empty(4, np.float32)).all()
        assert torch.empty(2, dtype=torch.int64).tolist() == [-7, -7] and torch.empty(1, dtype=torch.bool).item()
        assert torch.zeros(2).tolist() == [0, 0] and torch.empty(0, 3).shape == (0, 3)
    assert "lambda" not in torch.empty.__name__
