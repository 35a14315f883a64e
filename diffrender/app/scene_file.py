"""A scene and its cameras on disk, to the last bit: what a run fitted, for whoever goes on with it."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffrender.errors import DataError
from diffrender.scene.cameras import Cameras
from diffrender.scene.environment.env_map import EnvMap
from diffrender.scene.lights import LIGHTS
from diffrender.scene.materials import MATERIALS
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.projections import PROJECTIONS
from diffrender.scene.scene import Scene
from diffrender.scene.shadow_cameras import Shadow
from diffrender.scene.textures.texture import Texture

FORMAT = 1
SCENE_FILE = "scene.pt"
CAMERA_FIELDS = (
    *("cam_from_world", "focal_px", "center_px", "height", "width", "near"),
    *("number", "exposure", "white_balance"),
)
MESH_FIELDS = ("vertices", "faces", "uvs", "uv_faces")


def save_scene(path: Path, scene: Scene, cameras: Cameras) -> None:
    """Write `scene` and `cameras` as tensors and plain containers. Raises DataError where that cannot be done."""
    state = {
        "format": FORMAT,
        "objects": {
            name: {
                "mesh": {field: _plain(getattr(item.mesh, field)) for field in MESH_FIELDS},
                "material": _entry(item.material, MATERIALS),
                "pose": _plain(item.pose),
                "scale": _plain(item.scale),
            }
            for name, item in scene.objects.items()
        },
        "lights": {name: _entry(light, LIGHTS) for name, light in scene.lights.items()},
        "background": _plain(scene.background),
        "cameras": {
            **{field: _plain(getattr(cameras, field)) for field in CAMERA_FIELDS},
            "projection": _entry(cameras.projection, PROJECTIONS),
        },
    }
    unfinished = path.with_name(path.name + ".part")
    try:
        torch.save(state, unfinished)
        os.replace(unfinished, path)
    except (OSError, RuntimeError) as error:  # torch reports a missing folder as a RuntimeError
        raise DataError(f"{path}: cannot be written ({error}); choose another folder with --out") from error


def load_scene(path: Path) -> tuple[Scene, Cameras]:
    """What `save_scene` wrote, on the CPU. Raises DataError where it is missing, damaged or of another format."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["format"] != FORMAT:
            raise DataError(f"{path}: this is format {state['format']}, wanted {FORMAT}; use the version that wrote it")
        objects = {
            name: Object(Mesh(**item["mesh"]), _from_entry(item["material"], MATERIALS), item["pose"], item["scale"])
            for name, item in state["objects"].items()
        }
        lights = {name: _from_entry(entry, LIGHTS) for name, entry in state["lights"].items()}
        return Scene(objects, lights, state["background"]), _cameras(state["cameras"])
    except DataError:
        raise
    except Exception as error:  # torch.load raises OSError, RuntimeError, UnpicklingError, ... for a broken file
        raise DataError(f"{path}: is no readable scene ({error})") from error


def _cameras(state: dict[str, Any]) -> Cameras:
    fields = {field: state[field] for field in CAMERA_FIELDS}
    if "orthographic" in state:  # written when there were no other projections
        return Cameras(**fields, projection=PROJECTIONS["ORTHOGRAPHIC" if state["orthographic"] else "PINHOLE"]())
    return Cameras(**fields, projection=_from_entry(state["projection"], PROJECTIONS))


def _entry(holder: Any, shelf: dict[str, Any]) -> dict[str, Any]:
    kind = next(kind for kind, each in shelf.items() if type(holder) is each)
    return {"type": kind, "fields": {field.name: _plain(getattr(holder, field.name)) for field in _fields(holder)}}


def _from_entry(entry: dict[str, Any], shelf: dict[str, Any]) -> Any:
    return shelf[entry["type"]](**{name: _value(value) for name, value in entry["fields"].items()})


def _fields(holder: Any) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(holder)


def _plain(value: Any) -> Any:
    if isinstance(value, Texture):
        return {"texture": _plain(value.texels), "wrap": value.wrap}
    if isinstance(value, EnvMap):
        return {"sky": _plain(value.texels)}
    if isinstance(value, Shadow):
        return {"shadow": {field.name: _plain(getattr(value, field.name)) for field in _fields(value)}}
    return value.detach().cpu() if isinstance(value, Tensor) else value


def _value(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "shadow" in value:
        return Shadow(**value["shadow"])
    return EnvMap(value["sky"]) if "sky" in value else Texture(value["texture"], value["wrap"])
