"""Judge a fit: before it, what is probably a mistake; after it, whether its result can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffrender.app.evaluation import Evaluation
from diffrender.app.verdict.course_checks import COURSE_CHECKS, find_few_steps
from diffrender.app.verdict.evidence import Case, Course, State
from diffrender.app.verdict.reason import Reason, Verdict
from diffrender.app.verdict.shape_checks import SHAPE_CHECKS
from diffrender.app.verdict.state_checks import STATE_CHECKS, find_contradicting_masks
from diffrender.app.verdict.target_checks import TARGET_CHECKS
from diffrender.app.verdict.value_checks import VALUE_CHECKS
from diffrender.fit.loop import FitResult
from diffrender.setup.fit_setup import FitSetup


class Judge:
    """Judges one fit.

    warnings: what is probably a mistake, as is seen before the fit.
    """

    def __init__(self, setup: FitSetup, initial: Evaluation) -> None:
        self._case = Case(setup)
        self._start = State(self._case, setup.scene, setup.fit_views.cameras, initial)
        self._of_targets = _reasons(TARGET_CHECKS, self._case)
        self._of_start = _reasons(STATE_CHECKS, self._start)
        self.warnings: tuple[Reason, ...] = (*self._of_targets, *self._of_start)

    def verdict(self, result: FitResult, final: Evaluation, rows: Sequence[Any], folder: Path) -> Verdict:
        """Return the verdict on the `result` of the fit; rows: of metrics.jsonl in the run's `folder`."""
        end = State(self._case, result.scene, result.cameras, final)
        course = Course(self._start, end, result, rows, folder)
        found = [*self._of_targets, *_reasons([find_few_steps], course)]
        found += [*_reasons(STATE_CHECKS, end), *_reasons(VALUE_CHECKS, course), *_reasons(COURSE_CHECKS, course)]
        if self._case.shape_paths:
            found += _reasons(SHAPE_CHECKS, course)
        # A bad start that a good fit has left behind is no reason to doubt it; otherwise it is a likely cause.
        return Verdict.of([*self._of_start, *found] if found else [])


def judge_start(setup: FitSetup, initial: Evaluation) -> list[Reason]:
    """Return what is probably a mistake of targets and start, but for masks that contradict each other."""
    case = Case(setup)
    state = State(case, setup.scene, setup.fit_views.cameras, initial)
    others = [check for check in STATE_CHECKS if check is not find_contradicting_masks]
    return [*_reasons(TARGET_CHECKS, case), *_reasons(others, state)]


def judge_targets(setup: FitSetup) -> list[Reason]:
    """Return what is probably a mistake of the targets alone."""
    return _reasons(TARGET_CHECKS, Case(setup))


def _reasons(checks: Sequence[Any], evidence: object) -> list[Reason]:
    return [reason for check in checks if (reason := check(evidence)) is not None]
