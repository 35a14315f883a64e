"""One step of a fit, and the way back from a bad one."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import NoReturn

import torch
from torch import Tensor

from diffrender.errors import DiffrenderError, FitError
from diffrender.fit.batch_targets import StepViews
from diffrender.fit.batches import Batches
from diffrender.fit.deterministic_reduce import mean_per_view
from diffrender.fit.loss_inputs import LossInputs
from diffrender.fit.model import SceneModel
from diffrender.fit.nonfinite_diagnosis import bad_gradients, bad_terms, influences
from diffrender.fit.objective import Objective, Terms
from diffrender.fit.optimizer.fit_optimizer import FitOptimizer
from diffrender.fit.remeshing.surgery import remesh_due
from diffrender.fit.rollback import LastGood, first_nonfinite
from diffrender.fit.timings import Phases
from diffrender.render.render import RenderStep


@dataclass(frozen=True)
class StepRecord:
    """What one step saw: the scene as `step` earlier steps left it.

    step: counted from 0.
    total, terms: the objective and its unweighted terms.
    psnr_db: mean over the step's views of the PSNR of the whole sRGB image; NaN where colours are not compared.
    seconds: since the fit began.
    """

    step: int
    total: float
    terms: dict[str, float]
    psnr_db: float
    seconds: float
    geometry: Mapping[str, int] = field(default_factory=dict)


class NonFiniteError(Exception):
    """Ends a fit from inside a step; the message is for people."""


class Stepper:
    """Takes the steps of one fit. `done` steps are complete; one is in progress while `started` is ahead of it.

    phases: where the time went so far.
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
    ) -> None:
        self._model = model
        self._views = views
        self._names = names
        self._objective = objective
        self._optimizer = optimizer
        self._render_step = render_step
        self._batches = batches
        self._last_good = LastGood(model, optimizer)
        self._first = self.started = self.done = first_step
        self.phases = Phases()
        self._began = time.perf_counter()

    def seconds(self) -> float:
        """Since the fit began."""
        return time.perf_counter() - self._began

    def step(self, step: int) -> StepRecord:
        """One step. Raises NonFiniteError with the last good state in place."""
        moving = self._optimizer.begin(step)
        if step == self._first:
            # Once with all gradients, so that a value that nothing depends on is found now and not at its late start.
            for latent in self._model.latents.values():
                latent.requires_grad_(True)
        with self.phases.timed("solve"):
            values = self._finite_values()
        with self.phases.timed("render"):
            comparison, terms = self._evaluate(values, self._batches.at(step), step)
            record = self._record(step, comparison, terms)
        if not all(map(math.isfinite, (record.total, *record.terms.values()))):
            self._stop_at_loss(step, terms)
        if terms.total.requires_grad:
            with self.phases.timed("backward"):
                terms.total.backward()
        if step == self._first:
            self._check_influence(moving)
        self._check_gradients(step)

        # In this order Ctrl-C between any two lines leaves a state that undo_unfinished() puts right.
        self._last_good.keep()
        self.started = step + 1
        with self.phases.timed("update"):
            self._optimizer.step()
        with self.phases.timed("remesh"):
            remesh_due(self._model, self._optimizer, step + 1)
        self.done = step + 1
        return replace(record, geometry=self._optimizer.geometry())

    def finish(self) -> None:
        """Check what the last step left. Raises NonFiniteError with the last good state in place."""
        with torch.no_grad():
            self._finite_values()

    def undo_unfinished(self) -> None:
        """Go back to before the step in progress, if there is one."""
        if self.started > self.done:
            self._last_good.restore()
            self.started = self.done

    def _finite_values(self) -> dict[str, Tensor]:
        values = self._model.values()
        path = first_nonfinite(values)
        if path is None:
            return values
        if self.done == self._first:
            raise FitError(f"the value of {path} is not finite at the start of the fit; check where it comes from")
        self.done -= 1
        self._stop(f"step {self.done} made {path} non-finite")

    def _evaluate(self, values: dict[str, Tensor], index: Tensor | None, step: int) -> tuple[LossInputs, Terms]:
        """Renderings and terms of `step` for the views at `index`, None for all."""
        scene, cameras = self._model.state_at(values)
        cameras, views = self._views.at(cameras, index, step)
        added = self._views.added_background(scene.background, len(views), step)
        comparison = LossInputs(self._render_step(scene, cameras, step), views, added)
        return comparison, self._objective(comparison, scene)

    def _record(self, step: int, comparison: LossInputs, terms: Terms) -> StepRecord:
        with torch.no_grad():
            psnr_db = terms.total.new_tensor(math.nan)
            if "color" in self._objective.buffers():
                squared = mean_per_view(comparison.difference("srgb").detach().square())
                psnr_db = (-10 * squared.log10()).mean()
            # One wait for the device for everything that is written down.
            total, psnr, *numbers = torch.stack([terms.total, psnr_db, *terms.values.values()]).tolist()
        return StepRecord(step, total, dict(zip(terms.values, numbers, strict=True)), psnr, self.seconds())

    def _check_influence(self, moving: Collection[str]) -> None:
        """Raise FitError for values that nothing depends on, and drop the gradients that were asked for extra."""
        idle = [path for path, latent in self._model.latents.items() if latent.grad is None]
        if idle:
            raise FitError(
                f"{', '.join(idle)}: no term of the loss depends on it, so it cannot be learned; take it out of"
                " `optimize:`, or check that the object is in view, that the material is lit where lights are learned,"
                " and that render.edges is not hard where shapes are"
            )
        for path, latent in self._model.latents.items():
            if path not in moving:
                latent.grad = None
                latent.requires_grad_(False)

    def _check_gradients(self, step: int) -> None:
        gradients = {path: latent.grad for path, latent in self._model.latents.items() if latent.grad is not None}
        path = first_nonfinite(gradients)
        if path is None:
            return
        causes = []
        # View by view: an infinity in one of them times the zero that the others ask for would look like theirs too.
        for index, view in zip(self._indices(step), self._batch_names(step), strict=True):
            _, terms = self._evaluate(self._model.values(), index, step)
            bad = bad_gradients(terms, self._model.latents[path])
            causes += [f"loss term {name}" + (f" in {view}" if name in terms.per_view else "") for name in bad]
        found = ", ".join(dict.fromkeys(causes)) or "the total"
        self._stop(f"step {step}: the gradient of {path} is not finite, from {found}")

    def _stop_at_loss(self, step: int, terms: Terms) -> NoReturn:
        found = "; ".join(bad_terms(terms, self._batch_names(step)))
        if self.done == self._first:
            suspects = ", ".join(influences(terms, self._model.latents))
            self._stop(f"step {step}: {found}, from the start; it depends on {suspects or 'nothing that is learned'}")
        # From here on Ctrl-C goes back too, whatever the search has done to the latents by then.
        self.done -= 1
        guilty = self._last_good.culprits(lambda: self._is_finite_at(step)) or list(self._model.latents)
        self._stop(f"step {step}: {found}, after the last change of {', '.join(guilty)}")

    def _is_finite_at(self, step: int) -> bool:
        try:
            terms = self._evaluate(self._model.values(), self._batches.at(step), step)[1]
        except DiffrenderError:
            return False
        return bool(torch.isfinite(terms.total))

    def _batch_names(self, step: int) -> list[str]:
        return [self._names[int(index)] for index in self._indices(step)]

    def _indices(self, step: int) -> list[Tensor]:
        """The views of `step`, each as a batch of one: [1] int64."""
        index = self._batches.at(step)
        return list((torch.arange(len(self._names)) if index is None else index).split(1))

    def _stop(self, what: str) -> NoReturn:
        self.undo_unfinished()
        if self.done == self._first:
            raise NonFiniteError(f"{what}. The fit stays at its start")
        raise NonFiniteError(f"{what}. The state after {self.done} steps is kept; a smaller lr may help")
