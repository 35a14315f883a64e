"""The speed of a fit, and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

# A step's time in seconds is averaged over about this many steps.
AVERAGED_STEPS = 20


@dataclass
class StepTimer:
    """Steps per second and time left, from when steps end.

    The first step is not counted: it includes the compilation of the kernels.
    """

    clock: Callable[[], float] = time.perf_counter
    _last: float | None = None
    _mean_s: float | None = None

    def tick(self) -> None:
        """Note that a step has ended."""
        now = self.clock()
        if self._last is not None:
            elapsed = now - self._last
            weight = 1 / AVERAGED_STEPS
            self._mean_s = elapsed if self._mean_s is None else (1 - weight) * self._mean_s + weight * elapsed
        self._last = now

    @property
    def steps_per_s(self) -> float | None:
        """Steps per second, or None before the second step."""
        return None if not self._mean_s else 1 / self._mean_s

    def remaining_s(self, n_steps: int) -> float | None:
        """Return how many seconds n_steps more steps take, or None before the second step."""
        return None if self._mean_s is None else n_steps * self._mean_s
