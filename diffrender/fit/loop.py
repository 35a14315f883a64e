"""The loop that fits a scene to its target views."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from diffrender.errors import ConfigError, ProgramError, ShapeError
from diffrender.fit.batch_targets import ResolutionSchedule, StepViews, check_step_views
from diffrender.fit.batches import Batches
from diffrender.fit.best_state import BestState
from diffrender.fit.ctrl_c import deferred_ctrl_c
from diffrender.fit.model import SceneModel
from diffrender.fit.objective import Objective
from diffrender.fit.optimizer.fit_optimizer import FitOptimizer
from diffrender.fit.step import Stepper, StepRecord
from diffrender.fit.watchdog import NonFiniteError
from diffrender.render.render import RenderStep
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views

# Part of PyTorch's message where a tensor that a gradient needs is not what it was.
IN_PLACE = "modified by an inplace operation"


@dataclass(frozen=True)
class FitSettings:
    """The length of a fit, and the views, resolution and backgrounds of its steps.

    steps: at least 1.
    batch_size: views per step, at least 1; None for all of them.
    seed: of the order of the views and of random backgrounds.
    resolution: the size of the images over the steps.
    random_background: a new background colour per view and step.
    settled: the first step from which on images and edges are those of the last; nothing has converged before.
    """

    steps: int
    batch_size: int | None = None
    seed: int = 0
    resolution: ResolutionSchedule = field(default_factory=ResolutionSchedule)
    random_background: bool = False
    settled: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"steps must be at least 1, got {self.steps}")
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {self.batch_size}")

    @property
    def scales(self) -> list[float]:
        """The scale of the images of each step."""
        return [self.resolution.at(step) for step in range(self.steps)]

    def check(self, views: Views) -> None:
        """Raise ConfigError unless `views` have the masks and the size that these settings need."""
        check_step_views(views, self.resolution, self.random_background)


class Observer(Protocol):
    """The interface of an observer of a fit."""

    def on_step(self, record: StepRecord, model: SceneModel) -> None:
        """Handle the end of a step; `model` is in the state after it."""
        ...


@dataclass(frozen=True)
class FitResult:
    """The result of a fit.

    scene, cameras: the last good state, or an earlier one that was better; all cameras of the fitted views.
    stop_reason: "finished", "interrupted" (Ctrl-C), "non_finite", "diverged" (vertices left the scene) or "program"
        (the program failed).
    message: what became non-finite, diverged or failed, where and why; of a fit that finished, how the program failed
        where its last step wanted to go; else None.
    steps_done: number of completed steps. returned_step: after how many of them the state is.
    objectives: (steps done, objective) wherever `BestState` compared states.
    seconds: wall time of the fit.
    phase_seconds: wall time per phase (diffrender.fit.timings).
    replayed_steps: number of steps whose images and gradients were replayed from a recording, on a GPU.
    not_recorded: what kept steps from being recorded there, or None.
    """

    scene: Scene
    cameras: Cameras
    stop_reason: Literal["finished", "interrupted", "non_finite", "diverged", "program"]
    message: str | None
    steps_done: int
    seconds: float
    phase_seconds: Mapping[str, float] = field(default_factory=dict)
    returned_step: int = -1
    objectives: Sequence[tuple[int, float]] = ()
    replayed_steps: int = 0
    not_recorded: str | None = None

    def __post_init__(self) -> None:
        if self.returned_step < 0:
            object.__setattr__(self, "returned_step", self.steps_done)


def fit(
    model: SceneModel,
    views: Views,
    objective: Objective,
    optimizer: FitOptimizer,
    settings: FitSettings,
    render_step: RenderStep,
    observers: Sequence[Observer] = (),
    first_step: int = 0,
    best: BestState | None = None,
    edges_at: Callable[[int], object] | None = None,
) -> FitResult:
    """Optimise the latents of `model` until its renderings match `views`, and return the last good state.

    model: holds one camera per view, in the same order; it is left in the last good state.
    views: at full resolution; for random backgrounds they have masks, over the background of the model's scene.
    render_step: (scene, n cameras, steps done) -> their images, differentiable; edges may sharpen with the steps.
    first_step: number of completed steps of a checkpoint to resume from.
    edges_at: step -> what of render_step depends on it, its edge model for instance; on a GPU, steps that are alike are
        recorded once and replayed (fit.recorded_terms). None: unknown, then none are.
    best: compares states; an earlier one that is clearly better than the last is returned in its place.

    Ctrl-C ends the fit after its current step; pressed twice, after its last complete one. So does a non-finite term of
    the objective, gradient or value, and so do vertices that leave the scene (fit.reach): the step that led to it is
    undone (the optimiser's moments are not), and so is one to parameters at which the scene's program fails.
    Raises ConfigError or ShapeError if model, views and objective do not match, and FitError if a learned value has no
    influence on the objective; ProgramError if the program fails at the start.
    """
    if len(views) != len(model.cameras()):
        raise ShapeError(f"fit: the model must have one camera per view ({len(views)}), got {len(model.cameras())}")
    if len(views) == 0:
        raise ShapeError("fit: there are no views to fit; hold out fewer of them")
    objective.check(views)
    settings.check(views)
    batches = Batches(len(views), settings.batch_size, settings.seed)
    shown = StepViews(views, settings.resolution, settings.random_background, settings.seed)
    stepper = Stepper(model, shown, views.names, objective, optimizer, render_step, batches, first_step, edges_at)

    stop_reason, message = "finished", None
    try:
        with deferred_ctrl_c() as ctrl_c:
            if best is not None:
                best.check_due(first_step)
            for step in range(first_step, settings.steps):
                if optimizer.converged and step > settings.settled:
                    break
                record = stepper.step(step)
                if best is not None:
                    with stepper.phases.timed("compare"):
                        best.check_due(stepper.done)
                for observer in observers:
                    observer.on_step(record, model)
                ctrl_c.check()
            stepper.finish()
            message = stepper.failed_trial()
    except KeyboardInterrupt:
        stop_reason = "interrupted"
        stepper.undo_unfinished()
    except NonFiniteError as error:
        stop_reason, message = error.stop_reason, str(error)
    except RuntimeError as error:
        if IN_PLACE in str(error):
            raise ProgramError(
                "the program changes a tensor in place that its derivative needs, by an operation such as `+=` or"
                f" `x[0] = ...`; compute a new one (x = x + 1, torch.stack, torch.where): {error}"
            ) from error
        if not isinstance(error, ProgramError) or not stepper.undo_last():
            raise
        stop_reason, message = "program", f"{error}. The state after {stepper.done} steps is kept"
    if best is None:
        scene, cameras = model.snapshot()
        returned_step, objectives = stepper.done, ()
    else:
        scene, cameras, returned_step, objectives = best.returned(stepper.done)
    seconds, phases = stepper.seconds(), stepper.phases.seconds
    return FitResult(
        scene, cameras, stop_reason, message, stepper.done, seconds, phases, returned_step, objectives,
        stepper.replayed, stepper.obstacle,
    )  # fmt: skip
