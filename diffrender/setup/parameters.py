"""From the options of `optimize:` to what is learned, by which method and how fast."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from diffrender.config.defaults import (
    BETAS,
    BETAS_IN_EDGES,
    CAMERA_POSE_RATE,
    LAMBDA_OF_REMESHED,
    LAMBDAS,
    LEAST_COARSE,
    RATE_IN_EDGES,
    RATE_OF_REMESHED_LARGE_STEPS,
    RATES,
    VERTICES_PER_LAMBDA,
)
from diffrender.config.options.parameters import ParameterOptions
from diffrender.config.options.schedules import AnySchedule
from diffrender.config.schema import FitConfig
from diffrender.errors import ConfigError
from diffrender.fit.optimizer.fit_optimizer import ParamSettings
from diffrender.fit.optimizer.schedules import SCHEDULES, Schedule
from diffrender.fit.parametrization import Parametrization
from diffrender.fit.parametrizations import PARAMETRIZATIONS
from diffrender.fit.parametrizations.coarse_to_fine import CoarseToFine, is_image, most_levels
from diffrender.fit.parametrizations.large_steps import LargeSteps
from diffrender.fit.parametrizations.pose import Pose
from diffrender.geometry.spd_solver import choose_solver
from diffrender.scene.cameras import Cameras
from diffrender.scene.fields import POSITION, VERTICES
from diffrender.scene.parameter_paths import ParameterPath, canonical_path, get_value, kind_of
from diffrender.scene.scene import Scene
from diffrender.setup.remeshing import fill_remesh, fill_unwrap
from diffrender.setup.scene import shelf_options


def fill_parameters(config: FitConfig, scene: Scene, cameras: Cameras, size: float) -> dict[str, ParameterOptions]:
    """What is optimised, with method and learning rate filled in; `size`: a length that is typical of the scene."""
    parameters = config.optimize.parameters()
    if not parameters:
        prefixes = [f"objects.{name}." if config.objects is not None else "" for name in scene.objects]
        parameters = {
            f"{prefix}{value}": ParameterOptions()
            for prefix in prefixes
            for value in ("mesh.vertices", "material.base_color")
        }
    filled = {}
    for path, options in parameters.items():
        full = canonical_path(scene, cameras, path)
        method = options.method or kind_of(scene, cameras, full).parametrization
        if options.remesh is not None and options.method is None:
            # A new factorisation for every change of the mesh would cost more than it gains: remeshing smooths, too.
            method = "identity"
        unit = _unit(full, method, scene, cameras, size)
        in_edges = options.remesh is not None and method == "identity"
        rate = RATES[method] if options.remesh is None else RATE_OF_REMESHED_LARGE_STEPS
        updates: dict[str, Any] = {
            "method": method,
            "lr": options.lr or (RATE_IN_EDGES if in_edges else rate * unit),
            "optimizer": options.optimizer or ("vector_adam" if in_edges else PARAMETRIZATIONS[method].optimizer),
            "betas": options.betas or (BETAS_IN_EDGES if in_edges else BETAS),
            "levels": _levels(path, options.levels, get_value(scene, cameras, full)),
            **_large_steps_options(options, method, get_value(scene, cameras, full)),
        }
        name = ParameterPath.parse(full).name
        if options.remesh is not None:
            remesh = fill_remesh(options.remesh, method, scene.objects[name], cameras, size)
            written = next(each for each in config.all_objects() if each.name == name)
            updates["remesh"] = fill_unwrap(path, remesh, scene.objects[name], written, config.optimize.steps)
        filled[path] = options.model_copy(update=updates)
    return filled


def _levels(path: str, levels: int | None, value: Tensor) -> int | None:
    """How many coarser images of texels [H, W, C] are learned, filled in; None for a value that is no image.

    Raises ConfigError where `levels` is given for what is no image, or an image cannot be halved as often.
    """
    if not is_image(value):
        if levels:
            # What a file brings along is only known here: `own` may be a texture or the colours of vertices.
            raise ConfigError(
                f"optimize.{path}: levels is {levels}, which is for textures and environment maps, but the value is"
                f" {' x '.join(map(str, value.shape)) or 'one'} numbers and no image; remove levels"
            )
        return None
    height, width = value.shape[:2]
    most = most_levels(height, width, 1)
    if levels is not None and levels > most:
        raise ConfigError(
            f"optimize.{path}: an image of {height} x {width} can be halved {most} times, but levels is {levels}; make"
            " it smaller or leave it out"
        )
    return most_levels(height, width, LEAST_COARSE) if levels is None else levels


def _large_steps_options(options: ParameterOptions, method: str, vertices: Tensor) -> dict[str, Any]:
    """What `large_steps` alone has, filled in; the solver is the one that will run, so that it can be read later."""
    if method != "large_steps":
        return {}
    smoothness = options.smoothness
    if smoothness is None and options.remesh is None:
        low, high = LAMBDAS
        smoothness = min(max(len(vertices) / VERTICES_PER_LAMBDA, low), high)
    elif smoothness is None:
        smoothness = LAMBDA_OF_REMESHED
    return {"smoothness": smoothness, "solver": choose_solver(options.solver or "auto")}


def _unit(path: str, method: str, scene: Scene, cameras: Cameras, size: float) -> float:
    """What a default learning rate is multiplied by: the length that the value is measured in, where it is a length."""
    if path == "cameras.pose":
        return CAMERA_POSE_RATE / RATES["pose"]
    kind = kind_of(scene, cameras, path)
    if kind == VERTICES:
        vertices = get_value(scene, cameras, path)
        return float((vertices - vertices.mean(0)).norm(dim=1).mean())
    return size if method == "identity" and kind == POSITION else 1.0


def build_method(options: ParameterOptions, size: float, path: str, value: Tensor) -> Parametrization:
    """How the value at `path` is parametrised, from filled options; `size` as in `fill_parameters`."""
    inner = _inner_method(options, size)
    if not options.levels:
        return inner
    return CoarseToFine(
        inner, value.shape[0], value.shape[1], options.levels, closed=ParameterPath.parse(path).root == "lights"
    )


def _inner_method(options: ParameterOptions, size: float) -> Parametrization:
    assert options.method is not None
    if options.method == "large_steps":
        assert options.smoothness is not None and options.solver is not None
        return LargeSteps(options.smoothness, options.solver)
    return Pose(length_unit=size) if options.method == "pose" else PARAMETRIZATIONS[options.method]()


def build_param_settings(options: ParameterOptions) -> ParamSettings:
    """How fast a value is learned, and when, from filled options."""
    assert options.lr is not None and options.betas is not None
    in_edges = options.remesh is not None and options.method == "identity"
    times = (options.start, options.stop, _schedule(options.schedule))
    return ParamSettings(options.lr, *times, options.optimizer, options.betas, in_edges)


def _schedule(options: AnySchedule) -> Schedule:
    return SCHEDULES[options.type](**shelf_options(options))
