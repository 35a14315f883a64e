"""The speed of a fit, and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

# Step times are averaged over about this many steps.
AVERAGED_STEPS = 20
# Square images of this side take twice the time of the smallest: 17, 5.6 and 1.5 steps a second at 200, 400 and 800.
SIDE_PX = 126


@dataclass
class StepTimer:
    """Steps per second and time left, from when steps end.

    The first step is not counted: it includes the compilation of the kernels.

    sides_px: of the images of each step of the fit, in pixels: roots of their numbers; larger images take longer.
    """

    sides_px: Sequence[float]
    clock: Callable[[], float] = time.perf_counter
    _last: float | None = None
    _step: int = 0
    # Steps counted, of any size and of the last one's; times of a step, of the smallest and of the last one's size.
    _counted: tuple[int, int] = (0, 0)
    _smallest_s: float | None = None
    _own_s: float | None = None

    def __post_init__(self) -> None:
        self._works = [1 + (side / SIDE_PX) ** 2 for side in self.sides_px]
        # Of all steps after each one.
        self._rests = [*accumulate(reversed(self._works[1:]), initial=0.0)][::-1]

    def tick(self, step: int) -> None:
        """Note that `step` has ended."""
        now = self.clock()
        if self._last is not None:
            counted, alike = self._counted
            alike = alike if self._works[step] == self._works[self._step] else 0
            elapsed, work = now - self._last, self._works[step]
            self._smallest_s = _averaged(self._smallest_s, elapsed / work, counted)
            self._own_s = _averaged(self._own_s, elapsed, alike)
            self._counted = counted + 1, alike + 1
        self._last, self._step = now, step

    @property
    def steps_per_s(self) -> float | None:
        """Steps of the last one's size per second, or None before the second step."""
        return None if not self._own_s else 1 / self._own_s

    @property
    def remaining_s(self) -> float | None:
        """How many seconds the steps after the last one take, or None before the second step."""
        return None if self._smallest_s is None else self._smallest_s * self._rests[self._step]


def _averaged(mean: float | None, value: float, counted: int) -> float:
    """Return the mean of `counted` values, or of the last AVERAGED_STEPS or so, with one more value."""
    return value if mean is None or not counted else mean + (value - mean) / min(counted + 1, AVERAGED_STEPS)
