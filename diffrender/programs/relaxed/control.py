"""Relaxed control flow: branches and while loops of Python whose conditions have derivatives.

A condition is a margin: it holds where that is above 0. States, and what branches return, are tensors or tuples, lists
and dicts of them; a margin is one number, or one per row: [B] for tensors [B, ...]. `relaxed.values` has the modes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from diffrender.derivatives import constant
from diffrender.errors import ShapeError
from diffrender.programs.relaxed.modes import Mode, Temperature, chance, check, through
from diffrender.programs.relaxed.values import where

S = TypeVar("S")


def branch(
    margin: Tensor,
    if_true: Callable[..., S],
    if_false: Callable[..., S],
    *arguments: Any,
    temperature: Temperature,
    mode: Mode = "smooth",
) -> S:
    """Return `if_true(*arguments)` if margin > 0, else `if_false(*arguments)`: smoothly the mean of both, by chance.

    The chance is that of margin > 0 under logistic noise of scale `temperature`. Both run, and must give finite values
    in the same nest of the same shapes, except for one margin in mode "hard", where the chosen one runs alone.
    """

    check("branch", mode, temperature)
    if mode == "hard" and margin.numel() == 1:
        return if_true(*arguments) if margin.item() > 0 else if_false(*arguments)
    yes, no = if_true(*arguments), if_false(*arguments)
    return tree_map(lambda a, b: where(_rows(margin, a), a, b, temperature, mode), yes, no)


def while_loop(
    margin: Callable[[S], Tensor],
    body: Callable[[S], S],
    state: S,
    max_steps: int,
    *,
    temperature: Temperature,
    mode: Mode = "smooth",
) -> S:
    """Run `state = body(state)` while margin(state) > 0, at most `max_steps` times, and return the last state.

    Smoothly, each test goes on with the chance of its margin under logistic noise of scale `temperature`, and the
    result is the mean of the states that loops end with, each weighted by the chance of getting and ending there. So
    the body also runs past the end, until the chance of being there is below rounding; its states must stay finite.
    """
    check("while_loop", mode, temperature)
    if max_steps < 1:
        raise ShapeError(f"while_loop: max_steps must be at least 1, got {max_steps}")
    if mode == "hard":
        return _hard_loop(margin, body, state, max_steps)
    ended = tree_map(torch.Tensor.detach, state)  # what the loop itself has come to
    mean: Any = tree_map(torch.zeros_like, state)
    alive: Any = 1.0
    holds: Any = True
    for _ in range(max_steps):
        now = margin(state)
        mean, alive = _add(mean, alive * chance(-now, temperature), state), alive * chance(now, temperature)
        holds = holds & (now.detach() > 0)
        if not bool(holds.any()) and float(constant(alive).max()) < torch.finfo(now.dtype).eps:
            break
        state = body(state)
        ended = _advanced(holds, tree_map(torch.Tensor.detach, state), ended)
    mean = _add(mean, alive, state)
    return mean if mode == "smooth" else tree_map(through, ended, mean)


def _hard_loop(margin: Callable[[S], Tensor], body: Callable[[S], S], state: S, max_steps: int) -> S:
    for _ in range(max_steps):
        holds = margin(state) > 0
        if not bool(holds.any()):
            break
        state = _advanced(holds, body(state), state)
    return state


def _advanced(holds: Tensor, new: S, old: S) -> S:
    return tree_map(lambda a, b: torch.where(_rows(holds, a), a, b), new, old)


def _add(total: S, weight: Tensor, state: S) -> S:
    return tree_map(lambda sum_, part: sum_ + _rows(weight, part) * part, total, state)


def _rows(weight: Tensor, like: Tensor) -> Tensor:
    """Return weights per row in a shape that multiplies [B, ...]."""
    return weight.reshape(weight.shape + (1,) * max(0, like.dim() - weight.dim()))
