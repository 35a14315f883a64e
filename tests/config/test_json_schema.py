"""The JSON schema of scene files: the shipped file is up to date, and agrees with the reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import diffrender.config
from diffrender.config.json_schema import scene_schema
from diffrender.config.load import parse_config
from diffrender.config.resolved import format_resolved
from diffrender.config.yaml_tree import read_yaml, write_yaml
from diffrender.errors import ConfigError

SHIPPED = Path(diffrender.config.__file__).with_name("scene.schema.json")
SCENES = sorted((Path(__file__).parents[2] / "scenes").glob("*.yaml"))


@pytest.fixture(scope="module")
def validator() -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft7Validator.check_schema(scene_schema())
    return jsonschema.Draft7Validator(scene_schema())


def test_the_shipped_schema_is_the_generated_one() -> None:
    shipped = json.loads(SHIPPED.read_text(encoding="utf-8"))
    assert shipped == scene_schema(), "run: diffrender schema > diffrender/config/scene.schema.json"


def test_every_mapping_is_described_with_its_defaults() -> None:
    schema = scene_schema()
    assert schema["properties"]["export"]["default"] == ["obj", "glb"]
    steps = schema["definitions"]["OptimizeOptions"]["properties"]["steps"]
    assert steps.pop("description").startswith("gradient steps; at most")
    assert steps == {"type": "integer", "minimum": 1, "default": 400}
    assert all(definition["description"] for definition in schema["definitions"].values())


@pytest.mark.parametrize("scene", SCENES, ids=lambda path: path.stem)
def test_the_scenes_fit_the_schema_that_they_name(scene: Path, validator: Any) -> None:
    text = scene.read_text(encoding="utf-8")
    named = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert (scene.parent / named).resolve() == SHIPPED
    assert not list(validator.iter_errors(read_yaml(text, scene.name).data))


@pytest.mark.parametrize(
    "text",
    [
        "loss: l1",
        "loss: {image: l3}",
        "loss: {mask: -1}",
        "loss: {laplacian: {wieght: 1}}",
        "mesh: {init: spere}",
        "mesh: {subdivision: 3}",
        "mesh: 3",
        "material: {type: ggx, roughness: 1.5}",
        "material: {type: unlit, base_color: 2}",
        "material: {base_color: 0.5}",
        "material: {type: lambert, normal: 0.5}",
        "lights: [{radiance: 1}]",
        "lights: [{type: point, shadow: {softnes: 1}}]",
        "lights: [{type: ambient, shadow: true}]",
        "lights: {type: ambient}",
        "background: [1, 2]",
        "background: red",
        "render: {edges: 3}",
        "optimize: {steps: 0}",
        "optimize: {pose: {lr: 0}}",
        "optimize: {pose: {schedule: cosin}}",
        "optimize: {mesh.vertices: {remesh: continuos}}",
        "export: [obj, fbx]",
        "device: gpu",
        "progress: {video: yes}",
        "objects: [{name: a.b}]",
    ],
)
def test_mistakes_do_not_fit_the_schema(text: str, validator: Any) -> None:
    assert not validator.is_valid(read_yaml(f"targets: {{path: shots}}\n{text}", "s.yaml").data)
    assert validator.is_valid({"targets": {"path": "shots"}})


def written(schema: dict[str, Any], draw: Any, definitions: dict[str, Any], depth: int = 0) -> Any:
    """Draw a value that fits `schema`."""
    if "anyOf" in schema:
        return written(draw(st.sampled_from(schema["anyOf"])), draw, definitions, depth)
    if "$ref" in schema:
        return written(definitions[schema["$ref"].rpartition("/")[2]], draw, definitions, depth)
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    low = schema.get("minimum", schema.get("exclusiveMinimum", -4) + ("exclusiveMinimum" in schema) / 64)
    high = schema.get("maximum", schema.get("exclusiveMaximum", low + 64) - ("exclusiveMaximum" in schema) / 64)
    if schema["type"] == "integer":
        return draw(st.integers(int(low), int(high)))
    if schema["type"] == "number":
        return draw(st.floats(low, high))
    if schema["type"] == "array":
        size = draw(st.integers(schema.get("minItems", 0), schema.get("maxItems", 2)))
        return [written(schema["items"], draw, definitions, depth + 1) for _ in range(size)]
    if schema["type"] == "object":
        most = 4 - depth if depth < 4 else 0
        names, most = (st.sampled_from(list(schema["properties"])), most) if schema["properties"] else (st.nothing(), 0)
        keys = draw(st.lists(names, max_size=most, unique=True))
        data = {
            key: written(schema["properties"][key], draw, definitions, depth + 1)
            for key in dict.fromkeys([*schema.get("required", ()), *keys])
        }
        if isinstance(schema["additionalProperties"], dict) and draw(st.booleans()):
            data["mesh.vertices"] = written(schema["additionalProperties"], draw, definitions, depth + 1)
        return data
    return {"null": None, "boolean": draw(st.booleans()), "string": draw(st.sampled_from(["a", "card.obj"]))}[
        schema["type"]
    ]


@st.composite
def scene_files(draw: Any) -> dict[str, Any]:
    schema = scene_schema()
    del schema["properties"]["targets"]
    data = written(schema | {"required": []}, draw, schema["definitions"])
    return {"targets": {"path": "card.obj"}} | data


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(data=scene_files())
def test_what_is_written_after_reading_is_read_as_the_same(data: dict[str, Any], validator: Any) -> None:
    folder = SCENES[0].parent / "meshes"
    (data["targets"])["path"] = str(folder)
    try:
        config = parse_config(write_yaml(data), folder)
    except ConfigError:
        assume(False)
    text = format_resolved(config)
    assert parse_config(text, Path("/nowhere")) == config
    assert validator.is_valid(read_yaml(text, "scene.resolved.yaml").data)
    assert validator.is_valid(data)
