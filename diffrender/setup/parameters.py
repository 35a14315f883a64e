"""Build what is learned from the options of `optimize:`: paths, parametrisations, learning rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from diffrender.config.options.meshes import VisualHullMesh
from diffrender.config.options.objects import ObjectOptions
from diffrender.config.options.parameters import GEOMETRY_OF_CAMERAS, LENS, PULLED, ParameterOptions
from diffrender.config.options.schedules import AnySchedule, ConstantOptions
from diffrender.config.scene_dependent_defaults import (
    BETAS,
    BETAS_IN_EDGES,
    BLUR_RATE,
    CAMERA_PULL,
    CAMERA_RATE,
    CAMERAS_START,
    LAMBDA_OF_REMESHED,
    LAMBDAS,
    LEAST_COARSE,
    RATE_IN_EDGES,
    RATE_OF_REMESHED_LARGE_STEPS,
    RATES,
    VERTICES_PER_LAMBDA,
)
from diffrender.config.schema import FitConfig, OptimizeOptions
from diffrender.errors import ConfigError
from diffrender.fit.joined_vertices import join_vertices
from diffrender.fit.optimizer.fit_optimizer import ParamSettings
from diffrender.fit.optimizer.schedules import SCHEDULES, Schedule
from diffrender.fit.parametrization import Parametrization
from diffrender.fit.parametrizations import PARAMETRIZATIONS
from diffrender.fit.parametrizations.bounded import Bounded
from diffrender.fit.parametrizations.camera_poses import CameraPoses
from diffrender.fit.parametrizations.coarse_to_fine import CoarseToFine, most_levels
from diffrender.fit.parametrizations.large_steps import LargeSteps
from diffrender.fit.parametrizations.later_texels import LaterTexels
from diffrender.fit.parametrizations.pose import Pose
from diffrender.fit.parametrizations.shared import SharedFactor, SharedRows, SharedShift
from diffrender.geometry.spd_solver import choose_solver
from diffrender.scene.cameras import Cameras
from diffrender.scene.parameter_paths import ParameterPath, canonical_path, get_value, kind_of
from diffrender.scene.quantity_kinds import PARAMETER, POSITION, VERTICES, Kind
from diffrender.scene.scene import Scene
from diffrender.setup.best_defaults import DECAY, DECAYING
from diffrender.setup.exposure import BLUR
from diffrender.setup.material_inputs import later_textures
from diffrender.setup.region import Region
from diffrender.setup.remeshing import fill_remesh, fill_unwrap
from diffrender.setup.scene import constructor_options


def learn_all_parts(optimize: OptimizeOptions, names: Mapping[str, Sequence[str]]) -> OptimizeOptions:
    """Return `optimize` with a path of an object that became several parts replaced by those of all its parts.

    names: of the objects that each object of the scene file became. Raises ConfigError for a pose or a scale, which all
    parts would need in common.
    """
    only = next(iter(names)) if len(names) == 1 else None
    parameters: dict[str, ParameterOptions | None] = {}
    for path, options in optimize.written().items():
        owner, field = _owner_and_field(path, only)
        parts = names.get(owner, ())
        if len(parts) < 2:
            parameters[path] = options
            continue
        if field in ("pose", "scale") and options is not None:
            raise ConfigError(
                f"optimize.{path}: the mesh file became {len(parts)} objects, one per material, that would move apart;"
                " merge its textures by `diffrender bake --to texture`, or set mesh: {file: ..., split: none}"
            )
        own = {f"objects.{name}.{field}": options for name in parts}
        # A path of one part says more, wherever it stands.
        parameters |= {path: options for path, options in own.items() if path not in optimize.written()}
    return optimize.with_parameters(parameters)


def _owner_and_field(path: str, only: str | None) -> tuple[str, str]:
    """Return the name of the object that a path of `optimize:` is about, and the rest; "" if it is about none."""
    root, _, rest = path.partition(".")
    if root == "objects":
        name, _, field = rest.partition(".")
        return name, field
    return (only or "", path) if root in ("mesh", "material", "pose", "scale") else ("", path)


def fill_parameters(
    config: FitConfig,
    scene: Scene,
    cameras: Cameras,
    size: float,
    shape: ParameterOptions = DECAYING,
    color: ParameterOptions = DECAYING,
    factor: float = 1.0,
) -> dict[str, ParameterOptions]:
    """Return what is optimised, by path, with all defaults filled in.

    size: a typical length of the scene. shape, color: of vertices and base colours that `optimize` does not name.
        factor: of usual learning rates of meshes and materials.
    """
    defaults = {"mesh.vertices": shape, "material.base_color": color}
    if config.loss is not None and config.loss.image is None:
        del defaults["material.base_color"]  # nothing that is compared depends on it
    parameters = _with_defaults(config, scene, cameras, defaults)
    ranges = ranges_of(config)
    filled = {}
    # Something must move at the first step.
    is_late = any(path not in GEOMETRY_OF_CAMERAS and not options.start for path, options in parameters.items())
    is_late &= not any(isinstance(item.mesh, VisualHullMesh) for item in config.all_objects())
    full_paths = {path: canonical_path(scene, cameras, path) for path in parameters}
    joined = {at: each for each in join_vertices(scene, list(full_paths.values())) for at in each.index}
    later = later_textures(config.all_objects())
    for path, options in parameters.items():
        full = full_paths[path]
        # Parts of one surface are learned as one mesh, by defaults of the whole.
        value = joined[full].mesh.vertices if full in joined else get_value(scene, cameras, full)
        usual = "bounded" if full in ranges else kind_of(scene, cameras, full).parametrization
        method = options.method or usual
        if method == "bounded" and full not in ranges:
            raise ConfigError(
                f"optimize.{path}.method: bounded needs a `range` of the parameter; give it, or remove this"
            )
        if options.remesh is not None and options.method is None:
            # Remeshing smooths too, and large_steps would have to factorise again after every change of the mesh.
            method = "identity"
        unit = _rate_unit(full, method, value, kind_of(scene, cameras, full), size)
        if full == "cameras.center" and options.shared is False:
            unit *= float(cameras.focal_px.mean())
        in_edges = options.remesh is not None and method == "identity"
        rate = unit * (RATES[method] if options.remesh is None else RATE_OF_REMESHED_LARGE_STEPS)
        if in_edges:
            rate = RATE_IN_EDGES
        if ParameterPath.parse(full).part:
            rate *= factor
        updates: dict[str, Any] = {
            "method": method,
            **_fill_cameras(path, options, config.optimize.steps, is_late),
            "lr": options.lr or rate,
            "optimizer": options.optimizer or ("vector_adam" if in_edges else PARAMETRIZATIONS[method].optimizer),
            "betas": options.betas or (BETAS_IN_EDGES if in_edges else BETAS),
            "levels": _fill_levels(
                path, options.levels, (later[full], later[full], 0) if full in later else value.shape
            ),
            **_fill_large_steps(options, method, value),
        }
        if options.remesh is not None:
            names = [ParameterPath.parse(at).name for at in (joined[full].index if full in joined else [full])]
            whole = scene.objects[names[0]]
            if full in joined:
                whole = replace(whole, mesh=joined[full].mesh)
            remesh = fill_remesh(options.remesh, method, whole, cameras, size)
            written = {item.name: item for item in config.all_objects()}
            parts = [(scene.objects[each], written.get(each, ObjectOptions(name=each))) for each in names]
            updates["remesh"] = fill_unwrap(path, remesh, parts, config.optimize.steps, later)
        if updates.get("shared"):
            updates["method"] = None
        filled[path] = options.model_copy(update=updates)
    return filled


def _fill_cameras(path: str, options: ParameterOptions, steps: int, is_late: bool) -> dict[str, Any]:
    """Return when a value starts, and the options of the geometry of cameras, filled in."""
    if path not in PULLED:
        return {"start": options.start or 0}
    late = int(CAMERAS_START * steps) if is_late and path in GEOMETRY_OF_CAMERAS else 0
    return {
        "start": late if options.start is None else options.start,
        # Smaller steps later, for poses more exact than a step.
        "schedule": options.schedule if "schedule" in options.model_fields_set else DECAY,
        "pull": CAMERA_PULL if options.pull is None else options.pull,
        **({"shared": options.shared is not False} if path in LENS else {}),
    }


def _with_defaults(
    config: FitConfig, scene: Scene, cameras: Cameras, defaults: Mapping[str, ParameterOptions]
) -> dict[str, ParameterOptions]:
    """Return what is learned by path: what `optimize` names besides the defaults, which `off` removes.

    Shapes and colours are known, and not learned by default, where the pose or scale of any object is, or a program:
    vertices that move as well would undo it. defaults: by path within an object. Raises ConfigError if nothing is left.
    """
    learned = config.optimize.parameters()
    # Cameras have no blur where it is off.
    named = [path for path, options in config.optimize.written().items() if options is not None or path != BLUR]
    written = {canonical_path(scene, cameras, path) for path in named}
    places = any(ParameterPath.parse(canonical_path(scene, cameras, path)).is_placement for path in learned)
    places |= bool(scene.program)
    programs = {str(ParameterPath("program", "", "", name)): DECAYING for name in scene.program}
    added = {path: options for path, options in programs.items() if path not in written}
    for name in () if places else scene.objects:
        prefix = f"objects.{name}." if config.objects is not None or len(scene.objects) > 1 else ""
        paths = {f"{prefix}{value}": options for value, options in defaults.items()}
        added |= {path: own for path, own in paths.items() if canonical_path(scene, cameras, path) not in written}
    if not added and not learned:
        raise ConfigError("optimize: everything that is learned by default is off; name a value that is learned")
    return added | learned


def _fill_levels(path: str, levels: int | None, shape: Sequence[int]) -> int | None:
    """Return the number of coarser levels to learn of an image of `shape` [H, W, C]; None for any other shape.

    Raises ConfigError if `levels` is given for a value that is not an image, or is above what its size allows.
    """
    if len(shape) != 3:
        if levels:
            # Only known once files are read: `own` may be a texture or vertex colours.
            raise ConfigError(
                f"optimize.{path}: levels only applies to textures and environment maps, but the value has shape"
                f" {list(shape)}; remove levels"
            )
        return None
    height, width = shape[:2]
    most = most_levels(height, width, 1)
    if levels is not None and levels > most:
        raise ConfigError(
            f"optimize.{path}: levels must be at most {most} for an image of {height} x {width}, got {levels}; make it"
            " smaller or omit it"
        )
    return most_levels(height, width, LEAST_COARSE) if levels is None else levels


def _fill_large_steps(options: ParameterOptions, method: str, vertices: Tensor) -> dict[str, Any]:
    """Return the options of `large_steps`, filled in; the solver is the one that will run, for the resolved file."""
    if method != "large_steps":
        return {}
    smoothness = options.smoothness
    if smoothness is None and options.remesh is None:
        low, high = LAMBDAS
        smoothness = min(max(len(vertices) / VERTICES_PER_LAMBDA, low), high)
    elif smoothness is None:
        smoothness = LAMBDA_OF_REMESHED
    return {"smoothness": smoothness, "solver": choose_solver(options.solver or "auto")}


def _rate_unit(path: str, method: str, value: Tensor, kind: Kind, size: float) -> float:
    """Return the factor of the default learning rate: the unit of length for lengths, else 1."""
    if path in GEOMETRY_OF_CAMERAS:
        return CAMERA_RATE / RATES[method]
    if path == BLUR:
        return BLUR_RATE / RATES[method]
    if kind == VERTICES:
        return float((value - value.mean(0)).norm(dim=1).mean())
    if kind == PARAMETER and method == "identity":
        return float(value.abs().max()) or 1.0
    return size if method == "identity" and kind == POSITION else 1.0


def ranges_of(config: FitConfig) -> dict[str, tuple[float, float]]:
    """Return the ranges of the program's parameters that have one, by path."""
    parameters = {} if config.program is None else config.program.parameters.by_name()
    return {f"program.{name}": each.range for name, each in parameters.items() if each.range is not None}


def build_method(
    path: str,
    parameters: Mapping[str, ParameterOptions],
    scene: Scene,
    cameras: Cameras,
    region: Region,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    later: Mapping[str, int] | None = None,
) -> Parametrization:
    """Build the parametrisation of the value at `path`, one of the filled-in `parameters`.

    region: where the objects are. ranges: of values that are bounded, by path. later: texels along each side of the
        textures that values of vertices become, by canonical path.
    Raises ConfigError for the pose of a single camera, if the shape is learned as well.
    """
    options, value = parameters[path], get_value(scene, cameras, path)
    if options.method == "camera_poses":
        keeps_frame = _moves_as_a_whole(scene, cameras, parameters)
        if keeps_frame and len(cameras) < 2:
            raise ConfigError(
                f"optimize.{path}: needs at least 2 fitted views where the shape is learned, got 1: a move of"
                " the camera looks like one of the shape; remove it"
            )
        return CameraPoses(pivot=region.center, length_unit=region.radius, keeps_frame=keeps_frame)
    if options.shared and path not in ("cameras.focal", "cameras.center"):
        inner = PARAMETRIZATIONS[kind_of(scene, cameras, path).parametrization]()
        return SharedRows(inner, len(cameras))
    if options.shared:
        return SharedShift(unit=cameras.focal_px) if path == "cameras.center" else SharedFactor()
    if options.method == "bounded":
        return Bounded(*(ranges or {})[path])
    inner = _build_inner_method(options, region.radius)
    if not options.levels:
        return inner
    side = (later or {}).get(canonical_path(scene, cameras, path))
    height, width = value.shape[:2] if side is None else (side, side)
    image = CoarseToFine(inner, height, width, options.levels, closed=ParameterPath.parse(path).root == "lights")
    return image if side is None else LaterTexels(inner, image)


def _moves_as_a_whole(scene: Scene, cameras: Cameras, paths: Iterable[str]) -> bool:
    """Return whether a similarity of all objects is learned: each has vertices, or a pose, that are not known."""
    learned = {ParameterPath.parse(canonical_path(scene, cameras, path)) for path in paths}
    return scene.objects.keys() <= {each.name for each in learned if each.is_vertices or each.is_placement}


def _build_inner_method(options: ParameterOptions, size: float) -> Parametrization:
    assert options.method is not None
    if options.method == "large_steps":
        assert options.smoothness is not None and options.solver is not None
        return LargeSteps(options.smoothness, options.solver)
    return Pose(length_unit=size) if options.method == "pose" else PARAMETRIZATIONS[options.method]()


def without_rates(options: ParameterOptions, given: OptimizeOptions, path: str) -> ParameterOptions:
    """Return filled-in options as a method without learning rates has them: what the file says, from the first step."""
    own = given.parameters().get(path, ParameterOptions())
    return options.model_copy(
        update={"lr": None, "betas": None, "schedule": ConstantOptions(), "optimizer": None, "remesh": None}
        | {key: getattr(own, key) for key in ("start", "stop", "pull")}
    )


def build_param_settings(options: ParameterOptions) -> ParamSettings:
    """Build the learning rate and schedule of a value, from filled-in options."""
    if options.lr is None or options.betas is None:
        return ParamSettings(1.0, options.start or 0, options.stop, pull=options.pull or 0.0)
    in_edges = options.remesh is not None and options.method == "identity"
    times = (options.start or 0, options.stop, _build_schedule(options.schedule))
    return ParamSettings(options.lr, *times, options.optimizer, options.betas, in_edges, options.pull or 0.0)


def _build_schedule(options: AnySchedule) -> Schedule:
    return SCHEDULES[options.type](**constructor_options(options))
