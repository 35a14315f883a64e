"""score_function: derivatives of the mean of a program that has none itself, from samples of what it is run on."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from diffrender.checks import check_float, check_shape
from diffrender.errors import ShapeError


def score_function(
    values: Tensor, log_probs: Tensor, baseline: Literal["leave_one_out"] | float | Tensor | None = "leave_one_out"
) -> Tensor:
    """Return the mean of `values` with the derivatives of its expectation, however values come about.

        choice = Bernoulli(logits=x)
        samples = choice.sample((64,))
        mean = score_function(program(samples), choice.log_prob(samples))

    values: [S, ...], what S independent samples lead to; their own derivatives, if any, count too.
    log_probs: [S], the logarithm of each sample's probability, where parameters come in; samples have no derivative.
    baseline: what is subtracted from values where they are multiplied by derivatives of log_probs (Williams, Simple
        statistical gradient-following algorithms, 1992, REINFORCE). It leaves the mean of derivatives as it is and
        lowers their variance: a number or [...] that does not depend on the samples; None, for 0; leave_one_out: for
        each sample the mean of all others (Kool, van Hoof & Welling, Buy 4 REINFORCE samples, get a baseline for free,
        2019), which needs two samples.

    Derivatives of any order are unbiased (by factors exp(log_prob - stop(log_prob)): Foerster and others, DiCE, 2018).
    Raises ShapeError for shapes that do not fit, or too few samples.
    """
    check_shape("score_function", "log_probs", log_probs, ["S"])
    check_float("score_function", "values", values)
    n = len(log_probs)
    if values.dim() == 0 or len(values) != n:
        raise ShapeError(
            f"score_function: values must have a row per sample, {n} as log_probs, got shape {list(values.shape)}"
        )
    if isinstance(baseline, str) and baseline != "leave_one_out":
        raise ShapeError(
            f"score_function: baseline must be leave_one_out, a number, a tensor or None, got {baseline!r}"
        )
    least = 2 if isinstance(baseline, str) else 1
    if n < least:
        raise ShapeError(f"score_function: needs at least {least} samples with baseline={baseline!r}, got {n}")
    above = values
    if isinstance(baseline, str):
        fixed = values.detach()
        above = values - (fixed.sum(0) - fixed) / (n - 1)
    elif baseline is not None:
        above = values - (baseline.detach() if isinstance(baseline, Tensor) else baseline)
    zero = torch.expm1(log_probs - log_probs.detach()).to(values.dtype)  # with the derivatives of log_probs
    return (values + zero.reshape(-1, *[1] * (values.dim() - 1)) * above).mean(0)
