"""BestState: the best state of a fit, by its whole objective on the same views at a few evenly spaced steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.fit.loss_inputs import LossInputs
from diffrender.fit.model import SceneModel, SceneTemplate
from diffrender.fit.objective import Objective
from diffrender.render.render import RenderOutput
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views, evenly_spaced_indices

# Eleven states of at most eight views are rendered without gradients: about as long as eight steps of a fit.
MOST_VIEWS = 8
INTERVALS = 10
# The last steps of a sound fit go up and down a little. It goes back only if it ends worse than its best state by more
# than a tenth of the best objective and a hundredth of what had been gained.
WORSE_BY = 0.1
WORSE_BY_OF_GAIN = 0.01


class ReturnedState(NamedTuple):
    """The state that a fit returns. steps: how many it took. objectives: (steps done, objective) of all checks."""

    scene: Scene
    cameras: Cameras
    steps: int
    objectives: tuple[tuple[int, float], ...]


class BestState:
    """Keeps the best state of one fit.

    All states are compared alike: at full resolution, over the fixed background, with the edge model of the end,
    whatever the fit's steps are shown.

    render: (scene, cameras) -> their images with the AOVs of the objective, as at the end of the fit.
    steps: the length of the fit. also: steps after which a state is checked too, if they are in its last tenth.

    objectives: (steps done, objective) of the checks so far; steps_done, template, latents: of the best state.
    """

    def __init__(
        self,
        model: SceneModel,
        views: Views,
        objective: Objective,
        render: Callable[[Scene, Cameras], RenderOutput],
        steps: int,
        also: Sequence[int] = (),
    ) -> None:
        self._model, self._objective, self._render = model, objective, render
        self._index = evenly_spaced_indices(len(views), MOST_VIEWS)
        self._views = views.select(self._index)
        self._due = {round(i * steps / INTERVALS) for i in range(INTERVALS + 1)}
        self._due |= {step for step in also if step > steps - steps / INTERVALS}
        self.objectives: list[tuple[int, float]] = []
        self.restore([], 0, model.template, {})

    def restore(
        self,
        objectives: list[tuple[int, float]],
        steps_done: int,
        template: SceneTemplate,
        latents: Mapping[str, Tensor],
    ) -> None:
        """Set the checks so far and the best state, as a checkpoint has them."""
        self.objectives, self.steps_done, self.template, self.latents = objectives, steps_done, template, latents

    def check_due(self, steps_done: int) -> None:
        """Evaluate the model after `steps_done` steps, if that is due, and keep its state if it is the best."""
        if steps_done not in self._due or any(steps == steps_done for steps, _ in self.objectives):
            return
        value = self._evaluate()
        if not self.objectives or value < min(each for _, each in self.objectives):
            latents = {path: latent.detach().clone() for path, latent in self._model.latents.items()}
            self.steps_done, self.template, self.latents = steps_done, self._model.template, latents
        self.objectives.append((steps_done, value))

    def returned(self, steps_done: int) -> ReturnedState:
        """Return the model's state after the last step, or the best one if that is better by more than the margin."""
        objectives = list(self.objectives)
        if not objectives or objectives[-1][0] != steps_done:
            objectives.append((steps_done, self._evaluate()))
        best, last = min(value for _, value in objectives), objectives[-1][1]
        gain = objectives[0][1] - best
        if self.latents and not last <= best + WORSE_BY * best + WORSE_BY_OF_GAIN * gain:
            state = self._model.snapshot_of(self.template, self.latents)
            return ReturnedState(*state, self.steps_done, tuple(objectives))
        return ReturnedState(*self._model.snapshot(), steps_done, tuple(objectives))

    @torch.no_grad()
    def _evaluate(self) -> float:
        """Return the objective of the current state; infinite if it is not finite."""
        scene, cameras = self._model.state()
        inputs = LossInputs(self._render(scene, cameras.select(self._index)), self._views)
        value = float(self._objective(inputs, scene).total)
        return value if math.isfinite(value) else math.inf
