"""Where the time of a fit goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

PHASES = ("solve", "render", "backward", "update", "remesh")


class Phases:
    """Adds up the wall time of the parts of all steps.

    seconds: by part. solve: from latents to values, as a linear system where vertices are learned by Large Steps.
        render: images and what is compared. backward: gradients. update: the optimisers and guards. remesh: other
        triangles, and systems that are factorised anew for them.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(PHASES, 0.0)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Counts what happens inside as a part of `phase`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] += time.perf_counter() - began
