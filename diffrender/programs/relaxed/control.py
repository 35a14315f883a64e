"""Relaxed control flow: branches and while loops of Python whose conditions have derivatives.

A condition is a margin: it holds where that is above 0. States, and what branches return, are tensors or numbers,
which become tensors, alone or in tuples, lists and dicts; a margin is one number, or one per row: [B] for tensors
[B, ...]. `relaxed.values` has the modes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map, tree_structure

from diffrender.errors import ShapeError
from diffrender.programs.relaxed.modes import Mode, Temperature, chance, check, plain, through
from diffrender.programs.relaxed.values import refuse_comparison, where

S = TypeVar("S")
# What decides, and what to do in place of mapping over it.
MARGINS = ("margins", "give tensors [B, ...] and a margin per row, [B]")


def branch(
    margin: Tensor | float,
    if_true: Callable[..., S],
    if_false: Callable[..., S],
    *arguments: Any,
    temperature: Temperature,
    mode: Mode = "smooth",
) -> S:
    """Return `if_true(*arguments)` if margin > 0, else `if_false(*arguments)`: smoothly the mean of both, by chance.

    The chance is that of margin > 0 under logistic noise of scale `temperature`. Both run, and must give finite values
    in the same nest of the same shapes, except for one margin in mode "hard", where the chosen one runs alone.
    Raises ShapeError for results of other types; BackendError if torch.vmap maps over the margin in mode "hard".
    """
    check("branch", mode, temperature)
    now: Tensor = _as_tensors("branch", "margins", float(margin) if isinstance(margin, int) else margin, arguments)
    refuse_comparison("branch", "margin", now)
    if mode == "hard" and now.numel() == 1:
        return if_true(*arguments) if plain("branch", *MARGINS, now).item() > 0 else if_false(*arguments)
    yes, no = (_as_tensors("branch", "results", each(*arguments), now) for each in (if_true, if_false))
    if not _are_alike(yes, no):
        raise ShapeError(
            "branch: if_true and if_false must return the same nest of tensors of the same shapes, got"
            f" {_described(yes)} and {_described(no)}"
        )
    return tree_map(lambda a, b: where(_rows(now, a), a, b, temperature, mode), yes, no)


def while_loop(
    margin: Callable[[S], Tensor | float],
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
    Raises ShapeError for states of other types; BackendError if torch.vmap maps over margins.
    """
    check("while_loop", mode, temperature)
    if max_steps < 1:
        raise ShapeError(f"while_loop: max_steps must be at least 1, got {max_steps}")
    state = _as_tensors("while_loop", "states", state)
    test, step = _checked(margin, state), _checked(body, state, is_body=True)
    if mode == "hard":
        return _hard_loop(test, step, state, max_steps)
    ended = tree_map(torch.Tensor.detach, state)  # what the loop itself has come to
    mean: Any = tree_map(torch.zeros_like, state)
    alive: Any = 1.0
    holds: Any = True
    for _ in range(max_steps):
        now = test(state)
        mean, alive = _add(mean, alive * chance(-now, temperature), state), alive * chance(now, temperature)
        holds = holds & (plain("while_loop", *MARGINS, now) > 0)
        if not bool(holds.any()) and float(plain("while_loop", *MARGINS, alive).max()) < torch.finfo(alive.dtype).eps:
            break
        state = step(state)
        ended = _advanced(holds, tree_map(torch.Tensor.detach, state), ended)
    mean = _add(mean, alive, state)
    return mean if mode == "smooth" else tree_map(through, ended, mean)


def _hard_loop(margin: Callable[[S], Tensor], body: Callable[[S], S], state: S, max_steps: int) -> S:
    for _ in range(max_steps):
        holds = plain("while_loop", *MARGINS, margin(state)) > 0
        if not bool(holds.any()):
            break
        state = _advanced(holds, body(state), state)
    return state


def _checked(function: Callable[[S], Any], state: S, is_body: bool = False) -> Callable[[S], Any]:
    """Return a function of states, the numbers that it returns as tensors; a body's are as `state`."""

    def run(now: S) -> Any:
        found = _as_tensors("while_loop", "states and margins", function(now), state)
        if is_body and not _are_alike(found, state):
            raise ShapeError(
                "while_loop: body must return a state of the same nest and shapes as it was given, got"
                f" {_described(found)} for {_described(state)}"
            )
        if not is_body:
            refuse_comparison("while_loop", "margin", found)
        return found

    return run


def _are_alike(a: Any, b: Any) -> bool:
    """Whether two nests are of the same kind, of tensors whose shapes broadcast to that of one of both."""
    if tree_structure(a) != tree_structure(b):
        return False
    pairs = [(x.shape, y.shape) for x, y in zip(tree_leaves(a), tree_leaves(b), strict=True)]
    return all(x == y or x == () or y == () for x, y in pairs)


def _described(nest: Any) -> str:
    """Return a nest with the shapes of its tensors in their place."""
    return str(tree_map(lambda each: list(each.shape), nest))


def _as_tensors(function: str, what: str, nest: Any, like: Any = ()) -> Any:
    """Return a nest of tensors and numbers as one of tensors; floats in the dtype of those that are beside it."""
    beside = [each for each in tree_leaves((nest, like)) if isinstance(each, Tensor)]
    floats = [each for each in beside if each.dtype.is_floating_point]
    device = beside[0].device if beside else None

    def tensor_of(each: Any) -> Tensor:
        if isinstance(each, Tensor):
            return each
        if not isinstance(each, bool | int | float):
            raise ShapeError(
                f"{function}: {what} must be tensors or numbers, or tuples, lists and dicts of them, got"
                f" {type(each).__name__}"
            )
        dtype = floats[0].dtype if isinstance(each, float) and floats else None
        return torch.tensor(each, dtype=dtype, device=device)

    return tree_map(tensor_of, nest)


def _advanced(holds: Tensor, new: S, old: S) -> S:
    return tree_map(lambda a, b: torch.where(_rows(holds, a), a, b), new, old)


def _add(total: S, weight: Tensor, state: S) -> S:
    return tree_map(lambda sum_, part: sum_ + _rows(weight, part) * part, total, state)


def _rows(weight: Tensor, like: Tensor) -> Tensor:
    """Return weights per row in a shape that multiplies [B, ...]."""
    return weight.reshape(weight.shape + (1,) * max(0, like.dim() - weight.dim()))
