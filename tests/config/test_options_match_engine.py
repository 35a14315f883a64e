"""Options of scene files match the fields of the engine's dataclasses, with the same defaults."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

import pytest
import torch
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from diffrender.config import scene_dependent_defaults as defaults
from diffrender.config.options.base import arms_of
from diffrender.config.options.edges import AnyEdges
from diffrender.config.options.lights import AnyLight, ShadowOptions
from diffrender.config.options.losses import (
    AovLossOptions,
    ImageLoss,
    ImageLossOptions,
    LossOptions,
    MaskLossOptions,
    Pointwise,
)
from diffrender.config.options.materials import AnyMaterial
from diffrender.config.options.meshes import AnyMesh, FileMesh, StereoMesh, VisualHullMesh
from diffrender.config.options.parameters import (
    MADE_FOR,
    Method,
    Optimizer,
    ParameterOptions,
    RemeshScheduleOptions,
)
from diffrender.config.options.schedules import AnySchedule
from diffrender.config.schema import DisplayOptions, OptimizeOptions, ResolutionOptions
from diffrender.config.schema_words import model_of
from diffrender.config.untyped_config import learned_options, optimizable_paths
from diffrender.evaluate.exposure import PHOTOMETRY_PATHS, with_gains
from diffrender.fit.batch_targets import ResolutionSchedule
from diffrender.fit.loop import FitSettings
from diffrender.fit.losses import IMAGE_LOSSES, MASK_LOSSES
from diffrender.fit.losses.aov_loss import AovLoss
from diffrender.fit.losses.pointwise import POINTWISE
from diffrender.fit.optimizer.adam import ADAM_VARIANTS
from diffrender.fit.optimizer.fit_optimizer import BETAS, ParamSettings
from diffrender.fit.optimizer.schedules import SCHEDULES
from diffrender.fit.parametrizations import PARAMETRIZATIONS
from diffrender.fit.parametrizations.large_steps import LargeSteps
from diffrender.fit.regularizers import REGULARIZERS
from diffrender.fit.remeshing_policy import Remeshing
from diffrender.imaging.color import COLOR_SPACES
from diffrender.imaging.tone_mapping import TONE_CURVES, Display
from diffrender.readers.captures.normal_depth import CAPTURED_AOVS
from diffrender.readers.meshes.read_mesh import MESH_READERS
from diffrender.render.edge_models import EDGE_MODELS
from diffrender.render.edge_models.soft import SHARPEST_PX
from diffrender.scene.cameras import Cameras
from diffrender.scene.environment.env_map import HEIGHT_UNIT, EnvMap
from diffrender.scene.lights import LIGHTS
from diffrender.scene.materials import MATERIALS
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.parameter_paths import CAMERA_LEAVES, canonical_path, learnable_paths
from diffrender.scene.projections.radial_tangential import RadialTangential
from diffrender.scene.quantity_kinds import kinds_of
from diffrender.scene.scene import Scene
from diffrender.scene.shadow_cameras import Shadow
from diffrender.setup.meshes import PRIMITIVES

TERMS = {name: model_of(field.annotation) for name, field in LossOptions.model_fields.items()}
AOV_TERMS = {name for name, model in TERMS.items() if model is AovLossOptions}
REGULARIZER_OPTIONS = {
    name: model for name, model in TERMS.items() if name not in {"image", "mask"} and name not in AOV_TERMS
}
UNIONS_AND_TABLES = [
    (arms_of(AnyMaterial), MATERIALS),
    (arms_of(AnyLight), LIGHTS),
    (arms_of(AnyEdges), EDGE_MODELS),
    (arms_of(ImageLoss), IMAGE_LOSSES),
    (REGULARIZER_OPTIONS, REGULARIZERS),
    (arms_of(AnySchedule), SCHEDULES),
]
# Options that only a scene file has: type, name and weight of an entry, how it changes during a fit, and what its
# tensors are built from.
MORE = {"type", "name", "weight", "anneal", "order", "resolution", "early", "relative"}
# Options and the class that they configure, with the fields that only one of the two has.
PAIRS: list[tuple[Any, Any, set[str]]] = [
    *((options[name], table[name], MORE) for options, table in UNIONS_AND_TABLES for name in options),
    (ShadowOptions, Shadow, set()),
    (DisplayOptions, Display, set()),
    (ResolutionOptions, ResolutionSchedule, set()),
    (AovLossOptions, AovLoss, {"type", "weight", "aov", "of"}),
    (RemeshScheduleOptions, Remeshing, {"when", "at", "texture_sides"}),
    (OptimizeOptions, FitSettings, {"random_background", "minutes", "method", "settled"}),
    (ParameterOptions, ParamSettings, {"method", "smoothness", "solver", "levels", "remesh", "shared", "in_edges"}),
]
# Callers of the library set how much memory a step may take; a scene file need not.
DIFFERENT = {(OptimizeOptions, "batch_size")}


@pytest.mark.parametrize(("options", "table"), UNIONS_AND_TABLES)
def test_every_entry_of_a_shelf_can_be_written(options: dict[str, Any], table: dict[str, Any]) -> None:
    assert list(options) == list(table)


@pytest.mark.parametrize(("options", "engine", "more"), PAIRS, ids=lambda item: getattr(item, "__name__", ""))
def test_options_are_the_fields_with_the_same_defaults(options: type[BaseModel], engine: Any, more: set[str]) -> None:
    fields = {field.name: field for field in dataclasses.fields(engine)}
    assert set(options.model_fields) - more == set(fields) - more
    for name in set(fields) - more:
        default = fields[name].default
        if fields[name].default_factory is not dataclasses.MISSING:
            default = fields[name].default_factory()
        option = options.model_fields[name].default
        # Options that a scene file omits are filled in; fields without a default are set by the caller.
        is_open = option in (None, PydanticUndefined) or default is dataclasses.MISSING
        if not is_open and (options, name) not in DIFFERENT:
            assert is_written(default, option), name


def is_written(default: Any, option: Any) -> bool:
    """Whether `option` is how a scene file writes the default of an entry; a uniform map is written as its colour."""
    values = default.texels if isinstance(default, EnvMap) else default
    if isinstance(option, BaseModel):
        return option.model_dump(exclude={"type"}) == dataclasses.asdict(values)
    if not isinstance(values, torch.Tensor):
        return values == option
    return torch.equal(torch.tensor(option).expand_as(values), values)


def test_every_initial_mesh_can_be_built() -> None:
    assert {FileMesh, StereoMesh, VisualHullMesh, *PRIMITIVES} == set(arms_of(AnyMesh).values())
    assert all(suffix in str(FileMesh.__doc__) for suffix in MESH_READERS)


def test_constants_that_descriptions_quote_are_those_of_the_engine() -> None:
    assert defaults.BETAS == BETAS
    assert LargeSteps().smoothness == defaults.LAMBDA_OF_REMESHED
    assert defaults.SHARPEST_PX == SHARPEST_PX
    assert defaults.HEIGHT_UNIT == HEIGHT_UNIT
    assert tuple(defaults.RATES) == tuple(PARAMETRIZATIONS)


def test_words_of_the_schema_are_those_of_the_tables() -> None:
    assert get_args(Method) == tuple(PARAMETRIZATIONS)
    assert get_args(DisplayOptions.model_fields["tone"].annotation) == tuple(TONE_CURVES)
    assert get_args(Optimizer) == tuple(ADAM_VARIANTS)
    assert {method.optimizer for method in PARAMETRIZATIONS.values()} <= set(ADAM_VARIANTS)
    assert get_args(MaskLossOptions.model_fields["type"].annotation) == tuple(MASK_LOSSES)
    assert set(CAPTURED_AOVS) == AOV_TERMS
    assert get_args(Pointwise) == tuple(POINTWISE)
    assert set(get_args(ImageLossOptions.model_fields["space"].annotation)) == set(COLOR_SPACES)
    for method in ("zero_mean", "balanced"):
        assert CAMERA_LEAVES[MADE_FOR[method].removeprefix("cameras.")][1].parametrization == method


@pytest.mark.parametrize(("options", "table"), [(arms_of(AnyMaterial), MATERIALS), (arms_of(AnyLight), LIGHTS)])
def test_what_can_be_learned_is_what_the_engine_has_kinds_of(options: dict[str, Any], table: dict[str, Any]) -> None:
    for name, model in options.items():
        assert set(learned_options(model)) == set(kinds_of(table[name])), name


@pytest.mark.parametrize("kind", MATERIALS)
def test_materials_that_need_light_say_so(kind: str) -> None:
    assert arms_of(AnyMaterial)[kind].needs_light == MATERIALS[kind].needs_light


@pytest.mark.parametrize("kind", MATERIALS)
@pytest.mark.parametrize("names", [["object"], ["cow", "floor"]])
def test_the_paths_that_a_file_may_hold_are_those_of_the_scene(names: list[str], kind: str) -> None:
    mesh = Mesh(torch.eye(3), torch.tensor([[0, 1, 2]]))
    scene = Scene(
        {name: Object(mesh, MATERIALS[kind]()) for name in names},
        {name: light() for name, light in LIGHTS.items()},
    )
    cameras = Cameras.perspective(torch.tensor([[0.0, 0.0, 3.0]]))
    cameras = with_gains(
        dataclasses.replace(cameras, projection=RadialTangential(*torch.zeros(4, 1))), PHOTOMETRY_PATHS
    )
    cameras = dataclasses.replace(cameras, blur_px=torch.ones(()))
    objects: dict[str, Any] = {"objects": [{"name": name, "material": kind} for name in names]}
    data = {"lights": list(LIGHTS)} | (objects if len(names) > 1 else {"material": kind})
    paths = optimizable_paths(data)
    assert set(paths.values()) == set(learnable_paths(scene, cameras))
    for path, canonical in paths.items():
        assert canonical_path(scene, cameras, path) == canonical
