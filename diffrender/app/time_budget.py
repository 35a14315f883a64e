"""Turn `optimize.minutes` into a number of steps, so that a fit in a given time can be run again bit for bit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from diffrender.config.schema import FitConfig
from diffrender.fit.loop import fit
from diffrender.fit.model import SceneModel
from diffrender.fit.step import StepRecord
from diffrender.setup.fit_setup import FitSetup, build_fit

# Steps of the trial, a whole short fit from small images to full size, and how many of them compile kernels.
TRIAL_STEPS, WARMUP_STEPS = 30, 5


class _Clock:
    """Observes when each step ends."""

    def __init__(self) -> None:
        self.ends = [time.perf_counter()]

    def on_step(self, record: StepRecord, model: SceneModel) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())

    def mean_s(self) -> float:
        """Return the mean time of a step; the first ones, which compile, count as those after them."""
        times = [end - start for start, end in zip(self.ends, self.ends[1:], strict=False)]
        warm = times[WARMUP_STEPS:]
        return (sum(warm) + sum(warm[:WARMUP_STEPS])) / len(times)


def build_within_minutes(config: FitConfig, check: Callable[[FitSetup], None]) -> FitSetup:
    """Build a fit whose steps take about `optimize.minutes`; if that is omitted, as `build_fit`.

    The speed is that of a short trial of the same fit. check: of a setup, before any step. Raises as `build_fit`,
    `fit` and `check` do.
    """
    minutes = config.optimize.minutes
    if minutes is None:
        setup = build_fit(config)
        check(setup)
        return setup
    trial = build_fit(_with_steps(config, TRIAL_STEPS))
    check(trial)
    clock = _Clock()
    parts = (trial.model, trial.fit_views, trial.objective, trial.optimizer, trial.settings, trial.render_step, [clock])
    fit(*parts, edges_at=trial.edges.at)
    mean_s = clock.mean_s()
    steps = max(1, round(60 * minutes / mean_s))
    setup = build_fit(_with_steps(config, steps))
    reason = f"{minutes:g} minutes at {mean_s:.3g} s a step, measured by {TRIAL_STEPS} trial steps"
    return replace(setup, reasons={**setup.reasons, "optimize.steps": reason})


def _with_steps(config: FitConfig, steps: int) -> FitConfig:
    optimize = config.optimize.model_copy(update={"steps": steps, "minutes": None})
    return config.model_copy(update={"optimize": optimize})
