"""Long loops: states and gradients as of a plain loop, in memory that grows with the root of the steps."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from diffrender.errors import ShapeError
from diffrender.fit.checkpointed_loop import checkpointed_loop, checkpoints_every

# 400 steps that keep 4 MB each: 1.6 GB if all are kept.
LONG = """
import resource, sys, torch
from diffrender.fit.checkpointed_loop import checkpointed_loop
torch.set_num_threads(1)
rate = torch.tensor(0.99, dtype=torch.float64, requires_grad=True)
start = torch.linspace(0, 1, 250_000, dtype=torch.float64)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
(last,) = checkpointed_loop(lambda x, number: (rate * x).sin(), start, 400)
last.sum().backward()
assert torch.isfinite(rate.grad) and float(rate.grad) > 0
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def swing(stiffness: torch.Tensor):
    def step(state: tuple[torch.Tensor, torch.Tensor], number: int) -> tuple[torch.Tensor, torch.Tensor]:
        place, speed = state
        speed = speed - 0.01 * stiffness * place.sin() + 1e-4 * number
        return place + 0.01 * speed, speed

    return step


@pytest.mark.parametrize("every", [None, 1, 7, 1000])
def test_states_and_gradients_are_those_of_a_plain_loop(every: int | None) -> None:
    results = []
    for is_plain in (True, False):
        stiffness = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
        start = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
        state = (start, torch.zeros((), dtype=torch.float64))
        step = swing(stiffness)
        if is_plain:
            states = []
            for number in range(100):
                state = step(state, number)
                if number + 1 in (10, 55, 100):
                    states.append(state)
        else:
            states = checkpointed_loop(step, state, [10, 55, 100], every)
        places = torch.stack([place for place, _ in states])
        gradients = torch.autograd.grad(places.square().sum(), [stiffness, start])
        results.append((places, *gradients))
    for plain, ours in zip(*results, strict=True):
        assert torch.equal(plain, ours)


def test_an_integer_asks_for_the_last_state_and_the_start_may_be_asked_for() -> None:
    (last,) = checkpointed_loop(lambda x, number: x + number, torch.zeros(()), 4)
    assert float(last) == 6
    first, same, third = checkpointed_loop(lambda x, number: x + 1, torch.zeros(()), [0, 0, 3])
    assert (float(first), float(same), float(third)) == (0, 0, 3)


def test_steps_that_decrease_are_refused() -> None:
    with pytest.raises(ShapeError, match="do not decrease"):
        checkpointed_loop(lambda x, number: x, torch.zeros(()), [3, 2])


def test_the_option_sets_how_many_steps_are_kept() -> None:
    sizes: list[int] = []
    start = torch.zeros((), requires_grad=True)

    def count(every: int | None, inner: int | None = None) -> int:
        sizes.clear()
        with (
            checkpoints_every(every),
            torch.autograd.graph.saved_tensors_hooks(lambda x: (sizes.append(1), x)[1], lambda x: x),
        ):
            checkpointed_loop(lambda x, number: x * 1.01, start, 100, inner)
        return len(sizes)

    segments = {every: count(every) for every in (None, 5, 50)}
    assert segments[5] > segments[None] > segments[50]
    assert count(50, inner=5) == segments[5]


@pytest.mark.slow
def test_memory_is_bounded() -> None:
    # glibc would otherwise keep most of the freed blocks of this size, which it does not find again for aligned memory.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run([sys.executable, "-c", LONG], capture_output=True, text=True, check=True, env=environment)
    assert int(done.stdout) < 400  # MB
