"""Timing several contestants in turns, so that the noise of the machine hits all of them alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from math import nan
from statistics import median

from benchmarks.works import Task
from torch import Tensor, empty_like

WARM_UPS = 2
FEWEST, MOST = 7, 80


@dataclass(frozen=True)
class Contestant:
    """A task and the circumstances in which it runs, entered outside the measured time."""

    task: Task
    inside: Callable[[], AbstractContextManager[object]] = nullcontext


@dataclass(frozen=True)
class Times:
    """Seconds of every repeat; total is forward and backward together in one run, and empty without a backward."""

    forward: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)

    def milliseconds(self, best: bool, views: int = 1) -> tuple[float, float]:
        """Medians, or the quickest, of forward and of both together (NaN without a backward), per view."""
        choose = min if best else median
        scale = 1e3 / views
        return scale * choose(self.forward), scale * choose(self.total) if self.total else nan


def floor_task(task: Task) -> Task:
    """A plain copy, on one thread, of the buffers that `task` gives; and backward, of the gradients that it is given.

    No implementation can be quicker than to write its frame once and to read the frame's gradient once; a copy reads
    and writes. The destinations exist before, so no page is ever fetched from the system: a strict floor.
    """
    pairs = [[(empty_like(buffer), buffer) for buffer in buffers] for buffers in task.frames]

    def copied(some: list[tuple[Tensor, Tensor]]) -> None:
        for destination, source in some:
            destination.copy_(source)

    return Task(lambda: copied(pairs[0]), lambda _: copied(pairs[1]))


def race(contestants: Mapping[str, Contestant], seconds: float, clock: Callable[[], float]) -> dict[str, Times]:
    """Times of all contestants, run in turns (every other round backwards) for about `seconds` in all after warming up.

    clock: gives the seconds that are reported. The garbage collector runs between the measurements, not inside them.
    """
    times = {name: Times() for name in contestants}
    order = list(contestants.items())
    end = float("inf")
    for turn in range(-WARM_UPS, MOST):
        if turn == 0:
            end = time.perf_counter() + seconds
        if turn >= FEWEST and time.perf_counter() > end:
            break
        gc.collect(0)
        for name, contestant in order if turn % 2 else order[::-1]:
            forward, total = _once(contestant, clock)
            if turn >= 0:
                times[name].forward.append(forward)
                if contestant.task.backward is not None:
                    times[name].total.append(total)
    return times


def _once(contestant: Contestant, clock: Callable[[], float]) -> tuple[float, float]:
    task = contestant.task
    with contestant.inside():
        gc.disable()
        try:
            start = clock()
            result = task.forward()
            middle = clock()
            if task.backward is not None:
                task.backward(result)
            result = None  # giving the memory back is part of the work
            end = clock()
        finally:
            gc.enable()
    return middle - start, end - start
