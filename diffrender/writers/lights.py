"""Lights as JSON, in the form of a scene file's `lights:`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffrender.scene.environment.env_map import EnvMap
from diffrender.scene.light import Light
from diffrender.scene.lights import LIGHTS
from diffrender.scene.quantity_kinds import ROTATION, fields_of, kinds_of
from diffrender.scene.shadow_cameras import Shadow
from diffrender.writers.images.float_images import write_hdr_image
from diffrender.writers.run.metrics import write_json


def write_lights(path: Path, lights: Mapping[str, Light]) -> None:
    """Write `{"lights": [{"name": ..., "type": ..., option: value, ...}, ...]}`; it can be pasted into a scene file.

    lights: by name. The map of an environment is written beside the file, as <name>.exr, and named by its entry.

    Raises DataError if a file cannot be written or OpenImageIO is missing.
    """
    write_json(path, {"lights": [_entry(path, name, light) for name, light in lights.items()]})


def _entry(path: Path, name: str, light: Light) -> dict[str, Any]:
    kind = next(kind for kind, light_class in LIGHTS.items() if type(light) is light_class)
    entry: dict[str, Any] = {"name": name, "type": kind}
    kinds = kinds_of(light)
    for field, value in fields_of(light).items():
        if isinstance(value, EnvMap):
            file = path.with_name(f"{name}.exr")
            write_hdr_image(file, value.texels)
            value = file.name
        elif kinds.get(field) == ROTATION:
            value = _rotation(value)
        elif isinstance(value, Shadow):
            value = fields_of(value)
        entry[field] = value
    return entry


def _rotation(vector: Tensor) -> dict[str, Any]:
    """Return a rotation vector as scene files write it."""
    vector = vector.detach().cpu().double()
    angle = torch.linalg.vector_norm(vector)
    axis = vector / angle if float(angle) > 0 else vector.new_tensor([0.0, 1.0, 0.0])
    return {"axis": axis, "degrees": torch.rad2deg(angle)}
