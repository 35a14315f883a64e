"""Build everything that a fit needs from a FitConfig. The device is chosen here only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch

from diffrender.config.options.meshes import SphereMesh
from diffrender.config.scene_dependent_defaults import end_of_coarse_steps
from diffrender.config.schema import FitConfig, OptimizeOptions
from diffrender.errors import BackendError, ConfigError, DataError
from diffrender.evaluate.exposure import EXPOSURE, WHITE_BALANCE
from diffrender.evaluate.materials import Relit
from diffrender.fit.batch_targets import ResolutionSchedule
from diffrender.fit.best_state import BestState
from diffrender.fit.edge_schedule import EdgeSchedule, FixedEdges
from diffrender.fit.loop import FitSettings
from diffrender.fit.model import SceneModel
from diffrender.fit.objective import Objective
from diffrender.fit.optimizer.fit_optimizer import FitOptimizer
from diffrender.fit.optimizer.levenberg_marquardt import LevenbergMarquardt
from diffrender.fit.parametrizations.camera_poses import CameraPoses
from diffrender.fit.program import Program
from diffrender.imaging.tone_mapping import Display
from diffrender.render.render import RenderOutput, render
from diffrender.scene.cameras import Cameras
from diffrender.scene.lights.per_view_directional import PerViewDirectional
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views
from diffrender.setup.aim_cameras import aim_cameras
from diffrender.setup.best_defaults import (
    Chosen,
    choose_batch,
    choose_defaults,
    choose_for_least_squares,
    choose_poses,
)
from diffrender.setup.careful_rates import rate_factor, start_psnr_db
from diffrender.setup.edges import build_edge_schedule, fill_edges
from diffrender.setup.exposure import with_learned_blur, with_learned_gains
from diffrender.setup.lens import with_learned_distortion, with_lens_of
from diffrender.setup.local_origin import ZERO, Origin, shift_positions
from diffrender.setup.material_inputs import later_textures
from diffrender.setup.objective import build_terms, fill_loss
from diffrender.setup.parameters import (
    build_method,
    build_param_settings,
    fill_parameters,
    learn_all_parts,
    ranges_of,
    without_rates,
)
from diffrender.setup.picture_agreement import PictureAgreement
from diffrender.setup.programs import (
    LoadedProgram,
    bind_program,
    check_apart,
    follow_program,
    load_scene_program,
    notes_of_starts,
    times_of,
    with_hashes,
)
from diffrender.setup.region import Region
from diffrender.setup.remeshing import build_remeshing
from diffrender.setup.scene import BuiltScene, build_scene, constructor_options
from diffrender.setup.start_from_run import from_result, load_result, with_cameras_of
from diffrender.setup.targets import Targets, build_targets


@dataclass(frozen=True)
class FitSetup:
    """Everything that a fit needs, on one device.

    config: with all defaults filled in; written out and read again, it gives the same fit.
    scene: the initial guess.
    fit_views, heldout_views: the targets; heldout_views is None if no view is held out.
    target_scene, target_cameras: what the fitted targets show, and what took them, on the CPU; None for photographs.
    relit: the target scene under `relight` lights, on the device; None if the file has no such lights.
    origin: the point of the user's world that is the origin of scene, cameras and results (setup.local_origin).
    notes: what readers changed, or did not read, of meshes and captures.
    reasons: why defaults were chosen, by dotted key of the scene file.
    program: the code of the program that values of `scene` follow from; None without any.
    region: where the targets suggest that the scene is; its radius is the unit of default learning rates.
    pictures: how far pictures without masks fit onto each other; None if unknown.
    box: the low and the high corner of the box, about the origin, that the capture states; None if it states none.
    has_found_masks: whether masks are not those of the capture, but were found in its pictures.
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
    region: Region
    target_scene: Scene | None = None
    target_cameras: Cameras | None = None
    relit: Relit | None = None
    origin: Origin = ZERO
    notes: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    program: LoadedProgram | None = None
    pictures: PictureAgreement | None = None
    box: tuple[Origin, Origin] | None = None
    has_found_masks: bool = False

    @property
    def display(self) -> Display:
        """How light becomes pictures and videos."""
        return Display(self.config.display.exposure, self.config.display.tone)

    @cached_property
    def best(self) -> BestState:
        """The keeper of the best state of this fit."""
        steps, full_size = self.settings.steps, self.settings.resolution.until
        # Where images become full size late, what is gained then says nothing of the end.
        also = [(full_size + steps) // 2] if full_size < steps else []
        return BestState(self.model, self.fit_views, self.objective, self.render_end, steps, also)

    @property
    def camera_poses(self) -> CameraPoses | None:
        """How the poses of cameras are learned; None if they are not."""
        method = self.model.parametrization("cameras.pose") if "cameras.pose" in self.model.latents else None
        return method if isinstance(method, CameraPoses) else None

    def learned_gains(self) -> list[str]:
        """Return the paths among exposure and white balance that are learned."""
        return [path for path in (EXPOSURE, WHITE_BALANCE) if path in self.model.latents]

    def shared_of_lens(self) -> list[str]:
        """Return the learned paths of the one lens that all views share."""
        return [path for path, options in self.config.optimize.parameters().items() if options.shared]

    def render_step(self, scene: Scene, cameras: Cameras, step: int) -> RenderOutput:
        """Render `scene` with the edge model of a step of the fit, counted from 0."""
        return render(scene, cameras, self.edges.at(step), aovs=self.objective.aovs())

    def render_end(self, scene: Scene, cameras: Cameras) -> RenderOutput:
        """Render what the objective compares as at the end of the fit."""
        return self.render_step(scene, cameras, self.settings.steps)

    def render_views(self, scene: Scene, cameras: Cameras) -> RenderOutput:
        """Render `scene` with the edge model of the end of the fit, for scores and pictures."""
        return render(scene, cameras, self.edges.at(self.settings.steps))


def build_fit(config: FitConfig) -> FitSetup:
    """Build a fit, ready to run. Reads or renders the targets, which may take seconds.

    Raises ConfigError or DataError if the scene file and the files it names do not fit together, BackendError if the
    device does not exist, ProgramError if a program fails.
    """
    device = choose_device(config.device)
    config = with_hashes(config)
    targets = build_targets(config)
    origin = targets.place.origin
    config = shift_positions(config, (-origin[0], -origin[1], -origin[2]))
    config = _with_findings(config, targets)
    place = targets.place
    if config.program is not None:  # which may put objects in their place
        targets = targets._replace(place=place._replace(doubt=None))
    targets, chosen, built = _build_start(config, targets)
    _check_flashes(built.scene, targets.fit)
    loaded = load_scene_program(built.parts)
    heldout = None if targets.heldout is None else targets.heldout.cameras
    program = None if loaded is None else bind_program(loaded, times_of(targets.fit.cameras, heldout), origin)
    written = None if config.from_run else chosen.config
    scene, config, notes, names = follow_program(
        built, written, targets.place._replace(doubt=place.doubt), loaded, program, origin
    )
    if loaded is not None:
        config = config.model_copy(update={"program": loaded.options})
    region = targets.place.region
    scene, fit_views = scene.to(device), targets.fit.to(device)
    fit_views = with_learned_distortion(with_learned_gains(fit_views, config), config)
    fit_views = with_learned_blur(fit_views, config)
    config = config.model_copy(update={"optimize": learn_all_parts(config.optimize, names)})
    config, chosen = _fill_options(config, chosen, scene, fit_views, region, device)
    edges = build_edge_schedule(config.render.edges)
    settings = _build_settings(config, edges.until if program is None else max(edges.until, program.until))
    settings.check(fit_views)
    model, objective, optimizer = _build_learning(config, scene, fit_views, region, program)
    heldout = None if targets.heldout is None else with_lens_of(targets.heldout.to(device), fit_views)
    return FitSetup(
        config=shift_positions(config, origin),
        device=device,
        scene=scene,
        fit_views=fit_views,
        heldout_views=heldout,
        model=model,
        objective=objective,
        optimizer=optimizer,
        settings=settings,
        edges=edges,
        target_scene=targets.scene,
        target_cameras=targets.cameras,
        relit=None if targets.relit is None else _move_relit(targets.relit, scene, device),
        origin=origin,
        notes=tuple(dict.fromkeys((*targets.notes, *notes, *notes_of_starts(loaded, config.optimize.method)))),
        reasons=chosen.reasons,
        region=region,
        program=loaded,
        pictures=targets.pictures,
        box=targets.place.box,
        has_found_masks=targets.has_found_masks,
    )


def _fill_options(
    config: FitConfig, chosen: Chosen, scene: Scene, views: Views, region: Region, device: torch.device
) -> tuple[FitConfig, Chosen]:
    """Return `config` with what is learned, and how it is compared, filled in, and `chosen` with why."""
    start_db = start_psnr_db(scene, views)
    factor, has_rates = rate_factor(start_db), config.optimize.method == "adam"
    if factor < 1 and has_rates:
        reason = f"the start has {start_db:.1f} dB already: usual rates of meshes and materials times {factor:.2g}"
        chosen = chosen._replace(reasons={**chosen.reasons, "optimize": reason})
    parameters = fill_parameters(config, scene, views.cameras, region.radius, chosen.shape, chosen.color, factor)
    loss = fill_loss(config.loss, parameters, scene, views, later_textures(config.all_objects()))
    if not has_rates:
        parameters = {path: without_rates(options, config.optimize, path) for path, options in parameters.items()}
    off = {path: None for path, options in config.optimize.written().items() if options is None}
    optimize = _fill_resolution(config.optimize.with_parameters({**parameters, **off}))
    edges = fill_edges(config.render.edges, views.cameras, optimize.steps)
    updates = {
        "optimize": optimize,
        "loss": loss,
        "device": str(device),
        "render": config.render.model_copy(update={"edges": edges, "near": views.cameras.near}),
    }
    return config.model_copy(update=updates), chosen


def _build_learning(
    config: FitConfig, scene: Scene, views: Views, region: Region, program: Program | None
) -> tuple[SceneModel, Objective, FitOptimizer | LevenbergMarquardt]:
    """Build what is learned, what is compared, and what makes steps, from filled-in options."""
    assert config.loss is not None  # it is filled in
    optimize, parameters = config.optimize, config.optimize.parameters()
    later = later_textures(config.all_objects())
    methods = {
        path: build_method(path, parameters, scene, views.cameras, region, ranges_of(config), later)
        for path in parameters
    }
    model = SceneModel(scene, views.cameras, methods, program)
    check_apart(program, model.latents)
    # Objects that move on their own are no parts of a surface in the model's scene.
    objective = Objective(tuple(build_terms(config.loss, model.initial_template.scene)))
    objective.check(views)
    settings = {path: build_param_settings(options) for path, options in parameters.items()}
    if optimize.method != "adam":
        return model, objective, LevenbergMarquardt(model, settings, optimize.steps)
    remeshing = build_remeshing(parameters, scene, views.cameras, later, optimize.steps)
    return model, objective, FitOptimizer(model, settings, optimize.steps, remeshing)


def _with_findings(config: FitConfig, targets: Targets) -> FitConfig:
    """Return `config` with the background of the targets, and whether their masks or surface were found."""
    config = config.model_copy(update={"background": targets.background})
    found = {"find_masks": targets.has_found_masks, "find_surface": targets.place.surface is not None}
    # Also if the file is read again with its background.
    update = {key: True for key, is_found in found.items() if is_found}
    return config.model_copy(update={"targets": config.targets.model_copy(update=update)})


def _build_start(config: FitConfig, targets: Targets) -> tuple[Targets, Chosen, BuiltScene[FitConfig]]:
    """Choose what the file leaves out, aim the cameras, and build the scene: by defaults, or from a run's result."""
    misfit = None if targets.pictures is None else targets.pictures.misfit_px
    config, of_poses = choose_poses(config, targets.fit, misfit)
    targets, aimed = aim_cameras(targets, config)
    config, of_batch = choose_batch(config)
    config, of_method = choose_for_least_squares(config, targets.fit)
    if config.from_run is not None:
        saved = load_result(config.from_run, targets)
        targets = targets._replace(fit=with_cameras_of(targets.fit, saved))
        chosen, built = from_result(config, saved)
    else:
        chosen, built = _build_with_defaults(config, targets)
    if aimed is not None:
        of_poses["optimize.cameras.pose"] = "; ".join([*of_poses.values(), aimed])
    reasons = {**chosen.reasons, **of_batch, **of_poses, **of_method}
    return targets, chosen._replace(reasons=reasons), built


def _build_with_defaults(config: FitConfig, targets: Targets) -> tuple[Chosen, BuiltScene[FitConfig]]:
    """Choose defaults and build the scene; from a sphere, with a note, if a visual hull that was chosen is empty."""
    chosen = choose_defaults(config, targets.fit, targets.place.surface is not None)
    try:
        return chosen, build_scene(chosen.config, targets.place)
    except DataError as error:
        if "mesh" not in chosen.reasons or targets.place.surface is not None:
            raise
        plain = choose_defaults(config.model_copy(update={"mesh": SphereMesh()}), targets.fit)
        built = build_scene(plain.config, targets.place)
        note = f"the fit starts from a sphere, since no visual hull can be made: {error}"
        return plain, built._replace(notes=[*built.notes, note])


def _check_flashes(scene: Scene, views: Views) -> None:
    """Raise ConfigError if a light has fewer directions than the capture has numbered pictures."""
    number = views.cameras.number
    for name, light in scene.lights.items():
        if number is not None and isinstance(light, PerViewDirectional) and len(light.direction) <= int(number.max()):
            raise ConfigError(
                f"lights.{name}.direction: must have one direction per picture, at least {int(number.max()) + 1}, got"
                f" {len(light.direction)}; name the file of the light directions, or a folder of a mirror ball"
            )


def _move_relit(relit: Relit, scene: Scene, device: torch.device) -> Relit:
    return Relit(replace(scene, lights=relit.lights).to(device).lights, relit.views.to(device))


def _fill_resolution(optimize: OptimizeOptions) -> OptimizeOptions:
    resolution = optimize.resolution
    if resolution is None or resolution.until is not None:
        return optimize
    filled = resolution.model_copy(update={"until": end_of_coarse_steps(optimize.steps)})
    return optimize.model_copy(update={"resolution": filled})


def _build_settings(config: FitConfig, settled: int) -> FitSettings:
    """Build the settings of the loop. settled: the step from which on edges and programs are those of the last."""
    optimize, resolution = config.optimize, ResolutionSchedule()
    if optimize.resolution is not None:
        resolution = ResolutionSchedule(**constructor_options(optimize.resolution))
    # Only least squares converge before their last step.
    starts = [options.start or 0 for options in optimize.parameters().values() if optimize.method != "adam"]
    settled = max([settled, resolution.until, *starts])
    random_background = config.targets.background == "random"
    return FitSettings(optimize.steps, optimize.batch_size, optimize.seed, resolution, random_background, settled)


def choose_device(name: str) -> torch.device:
    """Return the device called `name`; auto: CUDA if available. Raises BackendError if the device does not exist."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            available = f"PyTorch sees {count} CUDA GPUs" if count else "PyTorch sees no CUDA GPU"
            raise BackendError(f"device: {name} does not exist, {available}; use --device cpu or auto")
    return device
