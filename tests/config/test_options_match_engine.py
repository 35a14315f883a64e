"""The options that a scene file knows are those of the shelves, with the same defaults."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_args

import pytest
import torch
from pydantic import BaseModel

from diffrender.config import shelf
from diffrender.config.options import lights as light_options
from diffrender.config.options.remeshing import RemeshScheduleOptions
from diffrender.config.schema import DisplayOptions, Method, Optimizer
from diffrender.config.untyped_config import UNLIT, optimizable_paths
from diffrender.evaluate.exposure import with_gains
from diffrender.fit.losses import IMAGE_LOSSES, MASK_LOSSES
from diffrender.fit.losses.pointwise import POINTWISE
from diffrender.fit.optimizer.adam import ADAM_VARIANTS
from diffrender.fit.optimizer.schedules import SCHEDULES
from diffrender.fit.parametrizations import PARAMETRIZATIONS
from diffrender.fit.regularizers import REGULARIZERS
from diffrender.fit.remeshing.policy import Remeshing
from diffrender.imaging.tone_mapping import TONE_CURVES, Display
from diffrender.render.edge_models import EDGE_MODELS
from diffrender.scene.cameras import Cameras
from diffrender.scene.environment.env_map import EnvMap
from diffrender.scene.lights import LIGHTS
from diffrender.scene.materials import MATERIALS
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.parameter_paths import canonical_path, learnable_paths
from diffrender.scene.scene import Scene
from diffrender.scene.shadow_cameras import Shadow

PAIRS = [
    (shelf.MATERIAL_OPTIONS, MATERIALS),
    (light_options.LIGHT_OPTIONS, LIGHTS),
    (shelf.EDGE_OPTIONS, EDGE_MODELS),
    (shelf.IMAGE_LOSS_OPTIONS, IMAGE_LOSSES),
    (shelf.MASK_LOSS_OPTIONS, MASK_LOSSES),
    (shelf.REGULARIZER_OPTIONS, REGULARIZERS),
    (shelf.SCHEDULE_OPTIONS, SCHEDULES),
]
ENTRIES = [(options[name], table[name]) for options, table in PAIRS for name in options]


@pytest.mark.parametrize(("options", "table"), PAIRS)
def test_every_entry_of_a_shelf_can_be_written(options: Mapping[str, Any], table: Mapping[str, Any]) -> None:
    assert list(options) == list(table)


@pytest.mark.parametrize(("options", "entry"), ENTRIES, ids=lambda item: item.__name__)
def test_options_are_the_fields_with_the_same_defaults(options: type[BaseModel], entry: Any) -> None:
    # What a scene file knows in addition: which entry it is, its name, its weight, how it changes during a fit.
    more = ("type", "name", "weight", "anneal", "order", "resolution")
    fields = {name: field for name, field in options.model_fields.items() if name not in more}
    assert set(fields) == {field.name for field in dataclasses.fields(entry)}
    made = entry()
    for name, field in fields.items():
        default = getattr(made, name)
        if field.default is not None:
            assert is_written(default, field.default)


def test_options_of_shadows_are_the_fields_with_the_same_defaults() -> None:
    assert light_options.ShadowOptions().model_dump() == dataclasses.asdict(Shadow())


def is_written(default: Any, option: Any) -> bool:
    """Whether `option` is how a scene file writes the default of an entry; a map of one colour is that colour."""
    values = default.texels if isinstance(default, EnvMap) else default
    if not isinstance(values, torch.Tensor):
        return values == option
    return torch.equal(torch.tensor(option).expand_as(values), values)


def test_the_options_of_remeshing_are_its_fields() -> None:
    options = RemeshScheduleOptions.model_fields
    fields = {field.name: field for field in dataclasses.fields(Remeshing)}
    assert {*options} - {"when"} == {*fields} - {"at"}
    for name in ("start", "settled", "gain", "rest", "full_speed", "passes"):
        assert options[name].default == fields[name].default


def test_words_of_the_schema_are_those_of_the_tables() -> None:
    assert get_args(Method) == tuple(PARAMETRIZATIONS)
    assert get_args(DisplayOptions.model_fields["tone"].annotation) == tuple(TONE_CURVES)
    assert DisplayOptions().model_dump() == dataclasses.asdict(Display())
    assert get_args(Optimizer) == tuple(ADAM_VARIANTS)
    assert {method.optimizer for method in PARAMETRIZATIONS.values()} <= set(ADAM_VARIANTS)
    assert get_args(shelf.PyramidOptions.model_fields["of"].annotation) == tuple(POINTWISE)
    assert {name for name, material in MATERIALS.items() if not material.needs_light} == UNLIT


@pytest.mark.parametrize("names", [["object"], ["cow", "floor"]])
def test_the_paths_that_a_file_may_hold_are_those_of_the_scene(names: list[str]) -> None:
    mesh = Mesh(torch.eye(3), torch.tensor([[0, 1, 2]]))
    scene = Scene(
        {name: Object(mesh, MATERIALS["lambert"]()) for name in names},
        {name: light() for name, light in LIGHTS.items()},
    )
    cameras = Cameras.perspective(torch.tensor([[0.0, 0.0, 3.0]]))
    cameras = with_gains(cameras, ("cameras.exposure", "cameras.white_balance"))
    objects: dict[str, Any] = {"objects": [{"name": name, "material": "lambert"} for name in names]}
    data = {"lights": list(LIGHTS)} | (objects if len(names) > 1 else {"material": "lambert"})
    paths = optimizable_paths(data)
    assert set(paths.values()) == set(learnable_paths(scene, cameras))
    for path, canonical in paths.items():
        assert canonical_path(scene, cameras, path) == canonical
