"""What all relaxed choices share: their modes, and temperatures that are valid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from diffrender.derivatives import constant
from diffrender.errors import BackendError, ShapeError

Mode: TypeAlias = Literal["smooth", "straight_through", "hard"]
Temperature: TypeAlias = float | Tensor


def relax(
    function: str, mode: Mode, temperature: Temperature, smooth: Callable[[], Any], hard: Callable[[], Any]
) -> Any:
    """Return `smooth()`, `hard()`, or the value of the latter with the derivatives of the former: nests of tensors.

    Raises ShapeError, naming the function, for a mode that does not exist or a temperature that is not above 0.
    """
    check(function, mode, temperature)
    if mode != "straight_through":
        return smooth() if mode == "smooth" else hard()
    return tree_map(through, hard(), smooth())


def through(hard: Tensor, smooth: Tensor) -> Tensor:
    """Return the value of `hard`, to the bit, with the derivatives of `smooth`, which must be finite."""
    return hard.detach() + (smooth - smooth.detach())


def check(function: str, mode: Mode, temperature: Temperature) -> None:
    """Raise ShapeError for a mode that does not exist or a temperature that is not above 0."""
    if mode not in get_args(Mode):
        raise ShapeError(f"{function}: mode must be one of {', '.join(get_args(Mode))}, got {mode!r}")
    number = (
        float(plain(function, "temperatures", "call it once for each", temperature))
        if isinstance(temperature, Tensor)
        else temperature
    )
    if not number > 0 or number == float("inf"):
        raise ShapeError(
            f"{function}: temperature must be above 0 and finite, got {number:g}; mode='hard' is the limit at 0"
        )


def plain(function: str, what: str, remedy: str, tensor: Tensor) -> Tensor:
    """Return the tensor of the same values, without any derivative; raise BackendError if torch.vmap maps over them."""
    try:
        return constant(tensor)
    except BackendError:
        raise BackendError(
            f"{function}: torch.vmap over {what} is not possible, because they decide what is computed; {remedy}"
        ) from None


def chance(margin: Tensor, temperature: Temperature) -> Tensor:
    """Return the chance that `margin` plus logistic noise of scale `temperature` is above 0."""
    return torch.sigmoid(margin / temperature)
