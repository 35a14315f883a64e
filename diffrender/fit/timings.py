"""Wall time of a fit per phase."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

PHASES = ("solve", "render", "backward", "update", "remesh")


class Phases:
    """Accumulates the wall time per phase over all steps.

    seconds: by phase. solve: from latents to values, which includes the linear solves of Large Steps. render: images,
        targets and terms. backward: gradients. update: optimisers and guards. remesh: new triangles, and the
        factorisation of their linear systems. compare: states with the best one (fit.best_state), if asked for.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(PHASES, 0.0)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the time inside the `with` block to `phase`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - began
