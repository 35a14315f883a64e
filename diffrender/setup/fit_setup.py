"""The composition root: from a FitConfig to everything that a fit needs. The device is chosen here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
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
    SHARPEST_PX,
    SIGMAS_PER_SIDE,
    VERTICES_PER_LAMBDA,
    end_of_coarse_steps,
)
from diffrender.config.options.edges import AnyEdges, SoftOptions
from diffrender.config.options.parameters import ParameterOptions
from diffrender.config.options.schedules import AnySchedule
from diffrender.config.schema import FitConfig, OptimizeOptions
from diffrender.errors import BackendError, ConfigError
from diffrender.evaluate.exposure import EXPOSURE, WHITE_BALANCE
from diffrender.evaluate.materials import Relit
from diffrender.fit.batch_targets import ResolutionSchedule
from diffrender.fit.edge_schedule import EdgeSchedule, FixedEdges
from diffrender.fit.loop import FitSettings
from diffrender.fit.model import SceneModel
from diffrender.fit.objective import Objective
from diffrender.fit.optimizer import schedules as schedule
from diffrender.fit.optimizer.fit_optimizer import FitOptimizer, ParamSettings
from diffrender.fit.optimizer.schedules import SCHEDULES
from diffrender.fit.parametrization import Parametrization
from diffrender.fit.parametrizations import PARAMETRIZATIONS
from diffrender.fit.parametrizations.coarse_to_fine import CoarseToFine, is_image, most_levels
from diffrender.fit.parametrizations.large_steps import LargeSteps
from diffrender.fit.parametrizations.pose import Pose
from diffrender.geometry.spd_solver import choose_solver
from diffrender.imaging.tone_mapping import Display
from diffrender.render.edge_models import EDGE_MODELS
from diffrender.render.edge_models.antialias import Antialias
from diffrender.render.edge_models.soft import Soft
from diffrender.render.render import RenderOutput, render
from diffrender.scene.cameras import Cameras
from diffrender.scene.fields import POSITION, VERTICES
from diffrender.scene.parameter_paths import ParameterPath, canonical_path, get_value, kind_of
from diffrender.scene.scene import Scene
from diffrender.scene.views import Views
from diffrender.setup.exposure import with_learned_gains
from diffrender.setup.objective import default_loss, terms_of
from diffrender.setup.remeshing import build_remeshing, fill_remesh, fill_unwrap
from diffrender.setup.scene import build_scene, shelf_options
from diffrender.setup.targets import build_targets


@dataclass(frozen=True)
class FitSetup:
    """Everything that a fit needs, on one device.

    config: with all that was left out filled in; written out and read again, it gives the same fit.
    scene: the initial guess.
    fit_views, heldout_views: the targets; heldout_views is None where nothing is held out.
    target_scene: what the targets show, on the CPU; None for photographs.
    relit: the same in other light, on the device, where the file has such light.
    """

    config: FitConfig
    device: torch.device
    scene: Scene
    fit_views: Views
    heldout_views: Views | None
    model: SceneModel
    objective: Objective
    optimizer: FitOptimizer
    settings: FitSettings
    edges: EdgeSchedule | FixedEdges
    target_scene: Scene | None = None
    relit: Relit | None = None

    @property
    def display(self) -> Display:
        """How pictures and films show light."""
        return Display(self.config.display.exposure, self.config.display.tone)

    def learned_gains(self) -> list[str]:
        """What is learned of the exposure and the white balance of the fitted pictures, as paths."""
        return [path for path in (EXPOSURE, WHITE_BALANCE) if path in self.model.latents]

    def render_step(self, scene: Scene, cameras: Cameras, step: int) -> RenderOutput:
        """The images of `scene` with the edges of a step of the fit, counted from 0."""
        return render(scene, cameras, self.edges.at(step), buffers=self.objective.buffers())

    def render_views(self, scene: Scene, cameras: Cameras) -> RenderOutput:
        """The images of `scene` with the edges of the end of the fit, as scores and pictures have them."""
        return render(scene, cameras, self.edges.at(self.settings.steps))


def build_fit(config: FitConfig) -> FitSetup:
    """All of a fit, ready to run. Reads or renders the targets, which may take seconds.

    Raises ConfigError or DataError where the scene file and the files it names do not suit each other, BackendError
    for a device that is not there.
    """
    device = choose_device(config.device)
    targets = build_targets(config)
    scene, config = build_scene(config.model_copy(update={"background": targets.background}), targets.place)
    size = targets.place.region.radius
    scene, fit_views = scene.to(device), targets.fit.to(device)
    fit_views = with_learned_gains(fit_views, config)
    parameters = _fill_parameters(config, scene, fit_views.cameras, size)
    learned = {path: ParameterPath.parse(canonical_path(scene, fit_views.cameras, path)) for path in parameters}
    shapes = [options for path, options in parameters.items() if learned[path].is_vertices]
    kinds = {parts: kind_of(scene, fit_views.cameras, str(parts)) for parts in learned.values()}
    loss = config.loss or default_loss(fit_views.masks is not None, shapes, kinds)
    optimize = _fill_resolution(config.optimize.with_parameters(parameters))
    edges = _fill_edges(config.render.edges, fit_views.cameras, optimize.steps)
    config = config.model_copy(
        update={
            "optimize": optimize,
            "loss": loss,
            "device": str(device),
            "render": config.render.model_copy(update={"edges": edges}),
        }
    )

    objective = Objective(tuple(terms_of(loss, scene)))
    objective.check(fit_views)
    methods = {
        path: _method(options, size, path, get_value(scene, fit_views.cameras, path))
        for path, options in parameters.items()
    }
    settings = _settings(optimize, config.targets.background == "random")
    settings.check(fit_views)
    model = SceneModel(scene, fit_views.cameras, methods)
    rates = {path: _rate(options) for path, options in parameters.items()}
    heldout = None if targets.heldout is None else targets.heldout.to(device)
    return FitSetup(
        config=config,
        device=device,
        scene=scene,
        fit_views=fit_views,
        heldout_views=heldout,
        model=model,
        objective=objective,
        optimizer=FitOptimizer(model, rates, optimize.steps, build_remeshing(parameters, scene, fit_views.cameras)),
        settings=settings,
        edges=_edge_schedule(edges),
        target_scene=targets.scene,
        relit=None if targets.relit is None else _relit_to(targets.relit, scene, device),
    )


def _relit_to(relit: Relit, scene: Scene, device: torch.device) -> Relit:
    return Relit(replace(scene, lights=relit.lights).to(device).lights, relit.views.to(device))


def _fill_resolution(optimize: OptimizeOptions) -> OptimizeOptions:
    resolution = optimize.resolution
    if resolution is None or resolution.until is not None:
        return optimize
    filled = resolution.model_copy(update={"until": end_of_coarse_steps(optimize.steps)})
    return optimize.model_copy(update={"resolution": filled})


def _settings(optimize: OptimizeOptions, random_background: bool) -> FitSettings:
    resolution = ResolutionSchedule()
    if optimize.resolution is not None:
        resolution = ResolutionSchedule(**shelf_options(optimize.resolution))
    return FitSettings(optimize.steps, optimize.batch_size, optimize.seed, resolution, random_background)


def choose_device(name: str) -> torch.device:
    """The device called `name`; auto is the CUDA GPU where there is one. Raises BackendError where it is missing."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            have = f"this PyTorch sees {count} CUDA GPUs" if count else "this PyTorch sees no CUDA GPU"
            raise BackendError(f"device: {name} is not there, {have}; use --device cpu or auto")
    return device


def _fill_parameters(config: FitConfig, scene: Scene, cameras: Cameras, size: float) -> dict[str, ParameterOptions]:
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
                f" {' x '.join(map(str, value.shape)) or 'one'} numbers and no image; take levels out"
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


def _fill_edges(edges: AnyEdges, cameras: Cameras, steps: int) -> AnyEdges:
    """The edges with the sigmas and the step that were left out."""
    if not isinstance(edges, SoftOptions):
        return edges
    sigma = edges.sigma or max(SHARPEST_PX, min(cameras.height, cameras.width) / SIGMAS_PER_SIDE)
    anneal = edges.anneal
    first, last = anneal.sigma or (sigma, SHARPEST_PX)
    until = anneal.until or end_of_coarse_steps(steps)
    anneal = anneal.model_copy(update={"sigma": (first, last), "until": until})
    return edges.model_copy(update={"sigma": first, "anneal": anneal})


def _edge_schedule(edges: AnyEdges) -> EdgeSchedule | FixedEdges:
    if not isinstance(edges, SoftOptions):
        return FixedEdges(EDGE_MODELS[edges.type](**shelf_options(edges)))
    anneal = edges.anneal
    assert anneal.sigma is not None and anneal.until is not None
    first, last = anneal.sigma
    then = Antialias(edges.samples) if anneal.then == "antialias" else Soft(last, edges.samples)
    return EdgeSchedule(Soft(first, edges.samples), last, anneal.until, then)


def _method(options: ParameterOptions, size: float, path: str, value: Tensor) -> Parametrization:
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


def _rate(options: ParameterOptions) -> ParamSettings:
    assert options.lr is not None and options.betas is not None
    in_edges = options.remesh is not None and options.method == "identity"
    times = (options.start, options.stop, _schedule(options.schedule))
    return ParamSettings(options.lr, *times, options.optimizer, options.betas, in_edges)


def _schedule(options: AnySchedule) -> schedule.Schedule:
    return SCHEDULES[options.type](**shelf_options(options))
