"""Save and load a scene and its cameras without loss: the result of a run, for `relight` and `from`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffrender.errors import DataError
from diffrender.scene.cameras import Cameras
from diffrender.scene.environment.env_map import EnvMap
from diffrender.scene.lights import LIGHTS
from diffrender.scene.materials import MATERIALS
from diffrender.scene.mesh import Mesh
from diffrender.scene.motion import Motion
from diffrender.scene.object import Object
from diffrender.scene.projections import PROJECTIONS
from diffrender.scene.quantity_kinds import fields_of
from diffrender.scene.scene import Scene
from diffrender.scene.shadow_cameras import Shadow
from diffrender.scene.textures.texture import Texture

FORMAT = 2
SCENE_FILE = "scene.pt"


def _types() -> dict[str, type]:
    """Return the types that are saved field by field, by their names in the file."""
    return {
        **{"scene": Scene, "cameras": Cameras, "object": Object, "mesh": Mesh},
        **{"texture": Texture, "environment_map": EnvMap, "shadow": Shadow, "motion": Motion},
        **MATERIALS,
        **LIGHTS,
        **PROJECTIONS,
    }


class SavedScene(NamedTuple):
    """A fitted scene and its cameras. names: of the views, one per camera; none in older files.

    origin: the point of the user's world that is the origin of both.
    """

    scene: Scene
    cameras: Cameras
    names: tuple[str, ...] = ()
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)


def save_scene(path: Path, saved: SavedScene) -> None:
    """Write a scene as tensors and plain containers. Raises DataError if the file cannot be written."""
    state = {"format": FORMAT, "scene": _pack(saved.scene), "cameras": _pack(saved.cameras)}
    state |= {"names": list(saved.names), "origin": list(saved.origin)}
    unfinished = path.with_name(path.name + ".part")
    try:
        torch.save(state, unfinished)
        os.replace(unfinished, path)
    except (OSError, RuntimeError) as error:  # torch reports a missing folder as a RuntimeError
        raise DataError(f"{path}: cannot be written ({error}); choose another folder with --out") from error


def load_scene(path: Path) -> SavedScene:
    """Read what `save_scene` wrote, on the CPU. Raises DataError if it is missing, damaged or of another format."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["format"] != FORMAT:
            raise DataError(f"{path}: format must be {FORMAT}, got {state['format']}; use the version that wrote it")
        more = {name: tuple(state[name]) for name in ("names", "origin") if name in state}
        return SavedScene(_unpack(state["scene"]), _unpack(state["cameras"]), **more)
    except DataError:
        raise
    except Exception as error:  # torch.load raises OSError, RuntimeError, UnpicklingError, ... for a broken file
        raise DataError(f"{path}: is not a readable scene file ({error})") from error


def _pack(value: Any) -> Any:
    """Return `value` as tensors on the CPU and plain containers."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, Mapping):
        return {name: _pack(part) for name, part in value.items()}
    if not dataclasses.is_dataclass(value):
        return value
    name = next(name for name, kind in _types().items() if type(value) is kind)
    return {"type": name, "fields": _pack(fields_of(value))}


def _unpack(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if isinstance(value.get("type"), str):  # an object named "type" would be a mapping
        return _types()[value["type"]](**_unpack(value["fields"]))
    return {name: _unpack(part) for name, part in value.items()}
