"""Relaxed choices of values: step, sign, round, clamp, where, argmax and sort.

Each has three modes. "smooth": a smooth function whose limit, as its temperature falls to 0, is the choice;
"straight_through": the value of the choice itself, to the bit, with the derivatives of the smooth function; "hard": the
choice, with the derivatives that PyTorch gives it. All work in reverse and forward mode, also in torch.func.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from diffrender.checks import check_float
from diffrender.derivatives import constant
from diffrender.errors import BackendError, ShapeError
from diffrender.programs.relaxed.modes import Mode, Temperature, chance, relax


def step(x: Tensor, temperature: Temperature, mode: Mode = "smooth") -> Tensor:
    """Return 1 where x > 0, else 0: the mean of that under logistic noise of scale `temperature` on x, a sigmoid."""
    _check_margin("step", "x", x)
    return relax("step", mode, temperature, lambda: chance(x, temperature), lambda: (x > 0).to(x.dtype))


def sign(x: Tensor, temperature: Temperature, mode: Mode = "smooth") -> Tensor:
    """Return -1, 0 or 1: smoothly 2 `step` - 1, which is tanh(x / (2 temperature))."""
    check_float("sign", "x", x)
    return relax("sign", mode, temperature, lambda: torch.tanh(x / temperature / 2), lambda: x.sign())


def round(x: Tensor, temperature: Temperature, mode: Mode = "smooth") -> Tensor:
    """Return the nearest integer: smoothly, between two integers, the sigmoid of that scale stretched to meet both.

    It passes through all integers, and has a continuous derivative; x itself is its limit at high temperatures.
    """

    def smooth() -> Tensor:
        below = x.detach().floor()
        rise = torch.tanh((x - below - 0.5) / temperature / 2)
        end = torch.tanh(x.new_tensor(0.25) / temperature)
        return below + 0.5 + rise / end / 2

    check_float("round", "x", x)
    return relax("round", mode, temperature, smooth, lambda: x.round())


def clamp(
    x: Tensor,
    low: float | Tensor | None,
    high: float | Tensor | None,
    temperature: Temperature,
    mode: Mode = "smooth",
) -> Tensor:
    """Return x within `low` and `high`, of which None is no limit; smoothly, the mean under logistic noise on x.

    That is low + T softplus((x - low) / T) - T softplus((x - high) / T), whose slope outside is small but not 0.
    Raises ShapeError if low is above high.
    """

    def smooth() -> Tensor:
        value = x
        if low is not None:
            value = low + temperature * _softplus((x - low) / temperature)
        return value if high is None else value - temperature * _softplus((x - high) / temperature)

    check_float("clamp", "x", x)
    _check_limits(low, high)
    return relax("clamp", mode, temperature, smooth, lambda: _clamp(x, low, high))


def where(margin: Tensor, a: Tensor, b: Tensor, temperature: Temperature, mode: Mode = "smooth") -> Tensor:
    """Return a where margin > 0, else b: smoothly their mean, weighted by `step`. All broadcast; both are finite."""

    def smooth() -> Tensor:
        return chance(margin, temperature) * a + chance(-margin, temperature) * b

    _check_margin("where", "margin", margin)
    return relax("where", mode, temperature, smooth, lambda: torch.where(margin > 0, a, b))


def argmax(x: Tensor, temperature: Temperature, mode: Mode = "smooth") -> Tensor:
    """Return 1 at the largest of the last dimension, 0 elsewhere: smoothly the softmax of x / temperature.

    That is the mean of the choice under Gumbel noise of that scale on x. `(argmax(x, T) * y).sum(-1)` picks of y.
    Raises ShapeError if there is nothing to choose from.
    """
    _check_some("argmax", x)

    def hard() -> Tensor:
        return one_hot(x.detach().argmax(-1), x.shape[-1]).to(x.dtype)

    return relax("argmax", mode, temperature, lambda: torch.softmax(x / temperature, -1), hard)


class Sorted(NamedTuple):
    """values [..., n] in order, and the permutation [..., n, n] that `permutation @ x` sorts by: row i, the i-th."""

    values: Tensor
    permutation: Tensor


def sort(x: Tensor, temperature: Temperature, mode: Mode = "smooth", descending: bool = False) -> Sorted:
    """Sort the last dimension, and return the permutation too, which sorts other values along.

    Smoothly by SoftSort (Prillo & Eisenschlos, SoftSort: a continuous relaxation for the argsort operator, ICML 2020):
    row i is the softmax of -|sorted_i - x| / temperature. Rows sum to 1; values are never outside those of x.
    """
    _check_some("sort", x)

    def smooth() -> Sorted:
        ordered = x.sort(-1, descending).values
        permutation = torch.softmax(-(ordered[..., :, None] - x[..., None, :]).abs() / temperature, -1)
        return Sorted((permutation @ x[..., None])[..., 0], permutation)

    def hard() -> Sorted:
        values, order = x.sort(-1, descending)
        return Sorted(values, one_hot(order, x.shape[-1]).to(x.dtype))

    return relax("sort", mode, temperature, smooth, hard)


def _softplus(x: Tensor) -> Tensor:
    """Return log(1 + e^x), accurate to the last bits, which torch's is not above 20."""
    return torch.logaddexp(x, torch.zeros_like(x))


def _clamp(x: Tensor, low: float | Tensor | None, high: float | Tensor | None) -> Tensor:
    limits = [each if each is None or isinstance(each, Tensor) else x.new_tensor(each) for each in (low, high)]
    return x if low is None and high is None else torch.clamp(x, *limits)


def _check_margin(function: str, argument: str, value: Tensor) -> None:
    """Raise ShapeError unless a value whose sign decides is a tensor of floats."""
    _check_tensor(function, argument, value)
    refuse_comparison(function, argument, value)
    check_float(function, argument, value)


def refuse_comparison(function: str, argument: str, value: Tensor) -> None:
    """Raise ShapeError if a value whose sign decides is the result of a comparison."""
    if value.dtype == torch.bool:
        raise ShapeError(
            f"{function}: {argument} must say how far a choice is from changing, got torch.bool; give the margin, such"
            " as x - y in place of x > y"
        )


def _check_tensor(function: str, argument: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise ShapeError(f"{function}: {argument} must be a tensor, got {type(value).__name__}; torch.tensor makes one")


def _check_limits(low: float | Tensor | None, high: float | Tensor | None) -> None:
    if low is None or high is None:
        return
    try:
        ends = [constant(torch.as_tensor(each)) for each in (low, high)]
    except BackendError:  # under torch.vmap
        return
    if bool((ends[0] > ends[1].to(ends[0].device)).any()):
        raise ShapeError(f"clamp: low must be at most high, got {low} and {high}")


def _check_some(function: str, x: Tensor) -> None:
    _check_tensor(function, "x", x)
    check_float(function, "x", x)
    if x.dim() == 0 or x.shape[-1] == 0:
        raise ShapeError(f"{function}: x must have a last dimension to choose from, got shape {list(x.shape)}")
