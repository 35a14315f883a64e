"""Lights as JSON, in the shape of a scene file's `lights:`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from diffrender.scene.light import Light
from diffrender.writers.metrics import write_json


def write_lights(path: Path, lights: Mapping[str, Light]) -> None:
    """Write `{"lights": [{"name": ..., "type": ..., option: value, ...}, ...]}`; it can be pasted into a scene file.

    lights: by name; the type written is the class's name in lower case, its name in scene files.

    Raises: DataError where the file cannot be written.
    """
    entries = [
        {"name": name, "type": type(light).__name__.lower()}
        | {field.name: getattr(light, field.name) for field in dataclasses.fields(light)}  # type: ignore[arg-type]
        for name, light in lights.items()
    ]
    write_json(path, {"lights": entries})
