"""score_function: its mean is the derivative of the expectation, and a baseline lowers its variance alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from diffrender.errors import ShapeError
from diffrender.programs.relaxed import score_function

LOGIT = torch.tensor(0.4, dtype=torch.float64)
DRAWS, SAMPLES = 20_000, 8


def log_probs(logit: Tensor, choices: Tensor) -> Tensor:
    return torch.where(choices, logsigmoid(logit), logsigmoid(-logit))


def derivatives(baseline, order: int = 1, slope: float = 0.0) -> Tensor:
    """Estimates of the derivative of what a program leads to: 5, or by chance 8, and `slope` per logit on top."""
    random = torch.rand(DRAWS, SAMPLES, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    choices = random < torch.sigmoid(LOGIT)

    def mean(logit: Tensor, choices: Tensor) -> Tensor:
        return score_function(torch.where(choices, 8.0, 5.0 + slope * logit), log_probs(logit, choices), baseline)

    function = mean
    for _ in range(order):
        function = torch.func.grad(function)
    return torch.func.vmap(function, (None, 0))(LOGIT, choices)


def standard_errors(found: Tensor, expected: Tensor) -> float:
    return float((found.mean() - expected).abs() / found.std() * DRAWS**0.5)


@pytest.mark.parametrize("baseline", [None, 4.0, torch.tensor(4.0), "leave_one_out"])
def test_the_mean_is_the_derivative_of_the_expectation(baseline) -> None:
    p = torch.sigmoid(LOGIT)
    assert standard_errors(derivatives(baseline), 3 * p * (1 - p)) < 3
    assert standard_errors(derivatives(baseline, order=2), 3 * p * (1 - p) * (1 - 2 * p)) < 3


def test_derivatives_of_the_values_themselves_count_too() -> None:
    expected = torch.func.grad(lambda x: 8 * torch.sigmoid(x) + torch.sigmoid(-x) * (5 + 2 * x))(LOGIT)
    assert standard_errors(derivatives("leave_one_out", slope=2.0), expected) < 3
    second = torch.func.grad(torch.func.grad(lambda x: 8 * torch.sigmoid(x) + torch.sigmoid(-x) * (5 + 2 * x)))(LOGIT)
    assert standard_errors(derivatives("leave_one_out", order=2, slope=2.0), second) < 3


def test_a_baseline_lowers_the_variance() -> None:
    # By hand, of one sample: (f - b)^2 p'^2 / p and so on, less the mean squared.
    p = float(torch.sigmoid(LOGIT))
    of_one = [p * (8 - b) ** 2 * (1 - p) ** 2 + (1 - p) * (5 - b) ** 2 * p**2 - (3 * p * (1 - p)) ** 2 for b in (0, 4)]
    without, fixed = (float(derivatives(b).var()) for b in (None, 4.0))
    assert [without, fixed] == pytest.approx([each / SAMPLES for each in of_one], rel=0.05)
    assert float(derivatives("leave_one_out").var()) < fixed / 4 < without / 20


def test_values_that_are_all_the_same_have_derivative_0_beside_the_mean_of_the_others() -> None:
    logit = LOGIT.clone().requires_grad_()
    mean = score_function(torch.full((5,), 7.0), log_probs(logit, torch.tensor([True, True, True, False, True])))
    (derivative,) = torch.autograd.grad(mean, logit)
    assert float(mean.detach()) == 7 and float(derivative) == 0


def test_images_have_a_row_per_sample_and_forward_mode_agrees() -> None:
    values = torch.rand(6, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    choices = torch.tensor([True, False, True, True, False, False])

    def image(logit: Tensor) -> Tensor:
        return score_function(values, log_probs(logit, choices))

    value, tangent = torch.func.jvp(image, (LOGIT,), (torch.ones_like(LOGIT),))
    assert value.shape == (4, 5) and torch.equal(value, values.mean(0))
    torch.testing.assert_close(tangent, torch.func.jacrev(image)(LOGIT))
    assert tangent.abs().min() > 1e-4


def test_what_does_not_fit_is_refused() -> None:
    two = torch.zeros(2)
    with pytest.raises(ShapeError, match=r"values must have a row per sample, 2 as log_probs, got shape \[3\]"):
        score_function(torch.zeros(3), two)
    with pytest.raises(ShapeError, match="needs at least 2 samples with baseline='leave_one_out', got 1"):
        score_function(torch.zeros(1), torch.zeros(1))
    with pytest.raises(ShapeError, match="baseline must be leave_one_out, a number, a tensor or None, got 'mean'"):
        score_function(two, two, "mean")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"log_probs must have shape \[S\]"):
        score_function(two, torch.zeros(2, 1))
