"""fit_program: learn the parameters of any function that returns values of a scene, or a scene, from views."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.checks import check_number, check_type
from diffrender.errors import ProgramWarning, ShapeError
from diffrender.fit.loop import FitResult, FitSettings, fit
from diffrender.fit.losses.pyramid import Pyramid
from diffrender.fit.model import SceneModel
from diffrender.fit.objective import Loss, Objective, Term
from diffrender.fit.optimizer.fit_optimizer import FitOptimizer, ParamSettings
from diffrender.fit.optimizer.schedules import Cosine
from diffrender.fit.program import ROOT, Function, Parameter, Program, with_parameters
from diffrender.fit.step import StepRecord
from diffrender.programs.relaxed.anneal import Anneal
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views


class FoundProgram(NamedTuple):
    """What `fit_program` found.

    parameters: by name, float64. losses: the objective before each step. scene: as it follows from the parameters.
    result: of the loop, such as why it ended.
    """

    parameters: Mapping[str, Tensor]
    losses: Sequence[float]
    scene: Scene
    result: FitResult


class _Losses:
    """Keeps the objective of each step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_step(self, record: StepRecord, model: SceneModel) -> None:
        """Keep the objective."""
        self.values.append(record.total)


def fit_program(
    function: Function,
    views: Views,
    parameters: Mapping[str, Parameter | float | Sequence[float] | Tensor],
    scene: Scene | None = None,
    *,
    anneal: Mapping[str, Anneal] | None = None,
    steps: int = 200,
    lr: float = 0.05,
    batch_size: int | None = None,
    loss: Loss | None = None,
    seed: int = 0,
) -> FoundProgram:
    """Learn `parameters` until what `function` makes of them looks like `views`.

        def throw(speed, time):  # [], [K] -> positions [K, 3]
            height = speed * time - 4.905 * time**2
            return {"objects.ball.position": torch.stack([0 * time, height, 0 * time], 1)}

        found = fit_program(throw, views, {"speed": Parameter(3.0, range=(0, 10))}, scene)
        print(found.parameters["speed"])

    function: called with the parameters by name, and with the `time` of all views if it has an argument of that name;
        it returns values of `scene` by path, or a Scene (fit.program.Program has both in full). A module of PyTorch is
        one: of its `forward`.
    views: with `cameras.time` if the function asks for it.
    parameters: starts by name; a Parameter may have a range. scene: None if the function returns whole scenes.
    anneal: numbers that the function also takes, by name, and that fall during the fit; their last counts at its end.
    lr: of Adam, as a share: of the largest number of a parameter without a range, else in logits of its range. It falls
        along a cosine. batch_size: views per step; None: all. loss: of the images; if omitted: Pyramid(levels=5).

    For standard deviations, or Levenberg and Marquardt's method, write it as `program` of a scene file.

    Raises ProgramError if the function fails at the start; ShapeError for steps and rates that are not above 0. A later
    failure ends the fit, with a ProgramWarning and in `result`. A start at an end of its range, from which Adam's steps
    lead slowly, is warned of.
    """
    check_type("fit_program", "views", views, Views)
    check_number("fit_program", "steps", steps, whole=True)
    check_number("fit_program", "lr", lr)
    if not (steps > 0 and 0 < lr < math.inf):
        raise ShapeError(f"fit_program: steps and lr must be above 0, got {steps} and {lr:g}")
    starts = {name: each if isinstance(each, Parameter) else Parameter(each) for name, each in parameters.items()}
    times = None if views.cameras.time is None else views.cameras.time.unique()
    program = Program(function, times, anneal=anneal)
    program.check_names(list(starts))
    start = program.start(with_parameters(_first_scene(views.cameras) if scene is None else scene, starts))
    if not start.objects:
        raise ShapeError("fit_program: give the `scene` whose values the function returns, or return a whole Scene")
    methods = {f"{ROOT}.{name}": each.parametrization() for name, each in starts.items()}
    model = SceneModel(start, views.cameras, methods, program)
    at_ends = [name for name, each in starts.items() if each.is_at_end()]
    if at_ends:
        warnings.warn(
            f"fit_program: {', '.join(at_ends)} at an end of the range, from which Adam's steps lead slowly; start"
            " farther inside, or give a wider range",
            ProgramWarning,
            stacklevel=2,
        )
    units = {name: 1.0 if each.range else float(each.tensor().abs().max()) or 1.0 for name, each in starts.items()}
    settings = {f"{ROOT}.{name}": ParamSettings(lr * unit, schedule=Cosine(0.01)) for name, unit in units.items()}
    losses = _Losses()
    result = fit(
        model,
        views,
        Objective((Term("image", 1.0, loss or Pyramid(levels=5)),)),
        FitOptimizer(model, settings, steps),
        FitSettings(steps, batch_size, seed),
        lambda shown, cameras, step: render(shown, cameras),
        [losses],
    )
    if result.stop_reason != "finished":
        warnings.warn(
            f"fit_program: ended after {result.steps_done} of {steps} steps: {result.message or result.stop_reason}",
            ProgramWarning,
            stacklevel=2,
        )
    return FoundProgram(dict(result.scene.program), losses.values, result.scene, result)


def _first_scene(cameras: Cameras) -> Scene:
    """Return a scene without objects, where the cameras are, for a function that makes its own."""
    return Scene({}, background=torch.zeros(3, device=cameras.cam_from_world.device))
