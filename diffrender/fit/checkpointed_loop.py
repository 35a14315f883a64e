"""Long loops with a gradient, in bounded memory: parts of the loop are run again when their gradient is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from diffrender.errors import ShapeError

State: TypeAlias = "Tensor | tuple[Tensor, ...]"
S = TypeVar("S", Tensor, "tuple[Tensor, ...]")

_EVERY: ContextVar[int | None] = ContextVar("every", default=None)


@contextmanager
def checkpoints_every(steps: int | None) -> Iterator[None]:
    """Set how many steps `checkpointed_loop` keeps at a time where it is not told; None: the square root of all."""
    token = _EVERY.set(steps)
    try:
        yield
    finally:
        _EVERY.reset(token)


def checkpointed_loop(
    step: Callable[[S, int], S], state: S, at: int | Sequence[int], every: int | None = None
) -> list[S]:
    """Run `state = step(state, number)` for number 0, 1, ..., and return the states after `at` of the steps.

        states = checkpointed_loop(lambda x, number: x + dt * speed(x), start, at=[100, 200, 300])

    state: a tensor or a tuple of tensors. at: how many steps lie before each state that is returned, not decreasing;
        an integer for the last alone.
    every: steps whose intermediate results are in memory at a time while a gradient is computed; the others are run
        again. None: as `program.checkpoint_every` of the scene file says, or the square root of all steps, which needs
        the least memory. The whole costs one more evaluation of each step; without a gradient, nothing.

    `step` must give the same result whenever it is called with the same state and number. Gradients reach whatever it
    uses. Raises ShapeError for numbers of steps that decrease or are negative.
    """
    numbers = [at] if isinstance(at, int) else list(at)
    if any(later < earlier for earlier, later in zip([0, *numbers], numbers, strict=False)):
        raise ShapeError(f"checkpointed_loop: `at` must be numbers of steps that do not decrease, got {numbers}")
    every = every or _EVERY.get() or max(1, round(math.sqrt(numbers[-1] if numbers else 1)))

    def run(state: S, first: int, last: int) -> S:
        for number in range(first, last):
            state = step(state, number)
        return state

    states, done = [], 0
    for wanted in numbers:
        while done < wanted:
            # Where a state is asked for, a segment ends early.
            last = min(done + every, wanted)
            if torch.is_grad_enabled():
                state = checkpoint(run, state, done, last, use_reentrant=False, preserve_rng_state=False)
            else:
                state = run(state, done, last)
            done = last
        states.append(state)
    return states
