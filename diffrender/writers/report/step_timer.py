"""The speed of a fit, and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

# A step's time is averaged over about this many steps.
AVERAGED_STEPS = 20
# Of the images' side, to which the time of a step is proportional: 17, 5.6 and 1.5 steps a second at 200, 400 and 800
# pixels.
POWER_OF_SIZE = 1.75


@dataclass
class StepTimer:
    """Steps per second and time left, from when steps end.

    The first step is not counted: it includes the compilation of the kernels.

    scales: of the images of each step of the fit, in those at full size; larger images take longer.
    """

    scales: Sequence[float]
    clock: Callable[[], float] = time.perf_counter
    _last: float | None = None
    _step: int = 0
    # Of a step at full size.
    _mean_s: float | None = None

    def __post_init__(self) -> None:
        self._works = [scale**POWER_OF_SIZE for scale in self.scales]
        # Of all steps after each one.
        self._rests = [*accumulate(reversed(self._works[1:]), initial=0.0)][::-1]

    def tick(self, step: int) -> None:
        """Note that `step` has ended."""
        now = self.clock()
        if self._last is not None:
            elapsed = (now - self._last) / self._works[step]
            weight = 1 / AVERAGED_STEPS
            self._mean_s = elapsed if self._mean_s is None else (1 - weight) * self._mean_s + weight * elapsed
        self._last, self._step = now, step

    @property
    def steps_per_s(self) -> float | None:
        """Steps like the last one per second, or None before the second step."""
        return None if not self._mean_s else 1 / (self._mean_s * self._works[self._step])

    @property
    def remaining_s(self) -> float | None:
        """How many seconds the steps after the last one take, or None before the second step."""
        return None if self._mean_s is None else self._mean_s * self._rests[self._step]
