"""One step of a fit: evaluate, differentiate, check, update."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from diffrender.errors import ProgramError
from diffrender.fit.batch_targets import StepViews
from diffrender.fit.batches import Batches
from diffrender.fit.least_squares import LeastSquares
from diffrender.fit.loss_inputs import LossInputs, cameras_to_compare
from diffrender.fit.model import SceneModel
from diffrender.fit.objective import Objective, Terms
from diffrender.fit.optimizer.fit_optimizer import FitOptimizer
from diffrender.fit.reach import Reach
from diffrender.fit.recorded_terms import Evaluated, StepTerms
from diffrender.fit.remeshing.surgery import remesh_due
from diffrender.fit.rollback import LastGood
from diffrender.fit.timings import Phases
from diffrender.fit.watchdog import Watchdog
from diffrender.render.render import RenderStep
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views

# So many steps end a fit by least squares, each of which goes hardly anywhere.
LAST_STEPS = 3


@dataclass(frozen=True)
class StepRecord:
    """A record of one step, evaluated on the state before its update.

    step: counted from 0.
    total, terms: the objective and its unweighted terms.
    psnr_db: mean over the step's views of the PSNR of the whole sRGB image, of each at most MOST_DB; NaN if colours
        are not compared.
    seconds: since the fit began.
    geometry: counts of `FitOptimizer.geometry` after the update.
    """

    step: int
    total: float
    terms: dict[str, float]
    psnr_db: float
    seconds: float
    geometry: Mapping[str, int] = field(default_factory=dict)


class Stepper:
    """Runs the steps of one fit.

    phases: wall time per phase so far.
    """

    def __init__(
        self,
        model: SceneModel,
        views: StepViews,
        names: tuple[str, ...],
        objective: Objective,
        optimizer: FitOptimizer,
        render_step: RenderStep,
        batches: Batches,
        first_step: int,
        edges_at: Callable[[int], object] | None = None,
    ) -> None:
        self._model = model
        self._views = views
        self._objective = objective
        self._optimizer = optimizer
        self._render_step = render_step
        self._terms = StepTerms(objective, render_step, edges_at)
        self._batches = batches
        self._reach = Reach(model)
        self._last_good = LastGood(model, optimizer, first_step)
        self._watchdog = Watchdog(model, self._last_good, batches, names, self._terms_at, self._reach)
        self._first = first_step
        self._failed_trial: tuple[int, str] | None = None
        self.phases = Phases()
        self._began = time.perf_counter()

    @property
    def replayed(self) -> int:
        """Number of steps whose images and gradients were replayed from a recording (fit.recorded_terms)."""
        return self._terms.replayed

    @property
    def obstacle(self) -> str | None:
        """What kept steps from being recorded, or None."""
        return self._terms.obstacle

    @property
    def done(self) -> int:
        """Number of completed steps of the model's state."""
        return self._last_good.done

    def seconds(self) -> float:
        """Return the wall time since the fit began."""
        return time.perf_counter() - self._began

    def step(self, step: int) -> StepRecord:
        """Run one step. Raises NonFiniteError after restoring the last good state."""
        moving = self._optimizer.begin(step, self._views.coarseness(step + 1))
        if step == self._first:
            self._watchdog.require_all_gradients()
        with self.phases.timed("solve"):
            values = self._model.values()
            self._watchdog.check_values(values)
        with self.phases.timed("render"):
            evaluated = self._evaluate(values, self._batches.at(step), step)
            terms, record = evaluated.terms, self._record(step, evaluated)
        self._watchdog.check_terms(step, (record.total, *record.terms.values()), terms)
        if terms.total.requires_grad:
            with self.phases.timed("backward"):
                terms.total.backward()
        if step == self._first:
            self._watchdog.check_influence(moving)
        self._watchdog.check_gradients(step)

        # In this order, Ctrl-C between any two lines leaves a state that undo_unfinished() can restore.
        self._last_good.keep()
        with self.phases.timed("update"):
            self._optimizer.step(self._problem(step, record.total))
        with self.phases.timed("remesh"):
            remesh_due(self._model, self._optimizer, step + 1, self._reach)
        self._last_good.complete()
        return replace(record, geometry=self._optimizer.geometry())

    def finish(self) -> None:
        """Check the values after the last step, and what the program makes of them. Raises ProgramError.

        Raises NonFiniteError after restoring the last good state.
        """
        with torch.no_grad():
            self._watchdog.check_values(self._model.values())
            self._model.state()

    def undo_last(self) -> bool:
        """Go back to before the last complete step; return whether there is one."""
        self._last_good.undo_unfinished()
        if self._last_good.is_at_start:
            return False
        self._last_good.reopen()
        self._last_good.undo_unfinished()
        return True

    def undo_unfinished(self) -> None:
        """Go back to before the step in progress, if there is one."""
        self._last_good.undo_unfinished()

    def _terms_at(self, index: Tensor | None, step: int) -> Terms:
        # Its gradients may be taken term by term.
        return self._terms.plain(*self._shown(self._model.values(), index, step), *self._when(step)).terms

    def _evaluate(self, values: Mapping[str, Tensor], index: Tensor | None, step: int) -> Evaluated:
        """Render the views of `step` at `index`, None for all, and evaluate the terms."""
        return self._terms(*self._shown(values, index, step), *self._when(step))

    def _when(self, step: int) -> tuple[int, float]:
        """Return a step and the progress 0..1 of the fit."""
        return step, step / self._optimizer.steps

    def _shown(
        self, values: Mapping[str, Tensor], index: Tensor | None, step: int
    ) -> tuple[Scene, Cameras, Views, Tensor | None]:
        """Return the scene, and of the views of `step` at `index` cameras, targets and offsets of the background."""
        scene, cameras = self._model.state_at(values, step)
        cameras, views = self._views.at(cameras, index, step)
        return scene, cameras, views, self._views.draw_added_background(scene.background, len(views), step)

    def _compare(self, values: Mapping[str, Tensor], index: Tensor | None, step: int) -> LossInputs:
        """Render the views of `step` at `index`, None for all."""
        scene, cameras, views, added = self._shown(values, index, step)
        return LossInputs(self._render_step(scene, cameras_to_compare(cameras, views), step), views, added)

    def _problem(self, step: int, before: float) -> LeastSquares:
        progress = step / self._optimizer.steps
        return LeastSquares(
            self._model,
            self._objective,
            lambda values, index: self._compare(values, index, step),
            lambda: self._total_of_trial(step),
            self._views.shape,
            progress,
            before,
        )

    def _total_of_trial(self, step: int) -> float:
        try:
            return float(self._terms_at(None, step).total)
        except ProgramError as error:
            self._failed_trial = step, str(error)
            raise

    def failed_trial(self) -> str | None:
        """Return how the program failed where one of the last steps wanted to go, or None."""
        step, message = self._failed_trial or (-1, None)
        return message if 0 <= step >= self.done - LAST_STEPS else None

    def _record(self, step: int, evaluated: Evaluated) -> StepRecord:
        terms, psnr_db = evaluated
        with torch.no_grad():
            # One device synchronisation for all recorded numbers.
            total, psnr, *numbers = torch.stack([terms.total, psnr_db, *terms.values.values()]).tolist()
        return StepRecord(step, total, dict(zip(terms.values, numbers, strict=True)), psnr, self.seconds())
