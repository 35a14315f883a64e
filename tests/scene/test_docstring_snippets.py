"""The docstrings of materials, lights and edge models show how a scene file writes them: each snippet must be valid."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from diffrender.config.options.edges import AnyEdges
from diffrender.config.options.lights import AnyLight
from diffrender.config.options.materials import AnyMaterial
from diffrender.render.edge_models import EDGE_MODELS
from diffrender.scene.lights import LIGHTS
from diffrender.scene.materials import MATERIALS
from diffrender.scene.shadow_cameras import Shadow

CASES = [
    *((name, cls, "material", AnyMaterial) for name, cls in MATERIALS.items()),
    *((name, cls, "lights", AnyLight) for name, cls in LIGHTS.items()),
    *((name, cls, "render", AnyEdges) for name, cls in EDGE_MODELS.items()),
    ("point", Shadow, "lights", AnyLight),
]


@pytest.mark.parametrize(("name", "cls", "key", "options"), CASES, ids=[case[1].__name__ for case in CASES])
def test_snippets_are_valid(name: str, cls: type, key: str, options: Any, tmp_path) -> None:
    for file in ("sky.hdr", "light_directions.txt"):
        (tmp_path / file).touch()
    (line,) = (line for line in (inspect.getdoc(cls) or "").splitlines() if line.startswith(f"    {key}: "))
    value = yaml.safe_load(line)[key]
    value = value[0] if key == "lights" else value["edges"] if key == "render" else value
    context = {"scene": tmp_path, "shell": tmp_path}
    assert TypeAdapter(options).validate_python(value, context=context).type == name
