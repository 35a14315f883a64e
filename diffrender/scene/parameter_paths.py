"""Dotted names for everything in a scene that can be learned.

    objects.<name>.mesh.vertices        objects.<name>.pose     objects.<name>.material.<field>
    objects.<name>.scale                lights.<name>.<field>   background
    cameras.pose (cam_from_world)       cameras.focal (focal_px)
    cameras.exposure                    cameras.white_balance (both only where the cameras have them)

A scene with exactly one object may leave out `objects.<name>.`. The value of a Texture or SkyMap is its texels.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from torch import Tensor

from diffrender.errors import ConfigError, ShapeError
from diffrender.scene.cameras import Cameras
from diffrender.scene.environment.env_map import EnvMap
from diffrender.scene.scene import Scene
from diffrender.scene.textures.texture import Texture

Holder = TypeVar("Holder")

# Name in a path -> (field of Cameras, parametrisation); the fields have longer names than a person wants to write.
CAMERA_LEAVES = {
    "pose": ("cam_from_world", "pose"),
    "focal": ("focal_px", "positive"),
    "exposure": ("exposure", "zero_mean"),
    "white_balance": ("white_balance", "balanced"),
}
SCENE, CAMERAS = "scene", "cameras"
# Values that are images, which stand for their texels.
IMAGES = (Texture, EnvMap)


class _Leaf(NamedTuple):
    """Where a value stands (the attributes and keys on the way from the scene or the cameras) and what it is."""

    root: str
    place: tuple[str, ...]
    value: Tensor
    parametrization: str


def learnable_paths(scene: Scene, cameras: Cameras) -> list[str]:
    """All canonical paths of `scene` and `cameras`, in a fixed order."""
    return list(_leaves(scene, cameras))


def canonical_path(scene: Scene, cameras: Cameras, path: str) -> str:
    """`path` written in full. Raises ConfigError naming the available paths and the nearest one."""
    return _resolve(scene, _leaves(scene, cameras), path)


def default_parametrization(scene: Scene, cameras: Cameras, path: str) -> str:
    """The name of the parametrisation that keeps the value at `path` in its domain."""
    leaves = _leaves(scene, cameras)
    return leaves[_resolve(scene, leaves, path)].parametrization


def object_of_vertices(path: str) -> str | None:
    """The name of the object whose vertices stand at a canonical path; None for the path of anything else."""
    if path.startswith("objects.") and path.endswith(".mesh.vertices"):
        return path.removeprefix("objects.").removesuffix(".mesh.vertices")
    return None


def get_value(scene: Scene, cameras: Cameras, path: str) -> Tensor:
    """The tensor at `path`."""
    leaves = _leaves(scene, cameras)
    return leaves[_resolve(scene, leaves, path)].value


def replace_values(scene: Scene, cameras: Cameras, values: Mapping[str, Tensor]) -> tuple[Scene, Cameras]:
    """Scene and cameras with other tensors at the given paths; everything else is shared with the originals.

    Raises ConfigError for an unknown path or one given twice, ShapeError for a value of another shape than before.
    """
    leaves = _leaves(scene, cameras)
    changes: dict[str, dict[tuple[str, ...], Tensor]] = {SCENE: {}, CAMERAS: {}}
    for path, value in values.items():
        canonical = _resolve(scene, leaves, path)
        leaf = leaves[canonical]
        if value.shape != leaf.value.shape:
            raise ShapeError(
                f"replace_values: {canonical} must keep its shape {list(leaf.value.shape)}, got {list(value.shape)}"
            )
        if leaf.place in changes[leaf.root]:
            raise ConfigError(f"{canonical} is given twice, in full and in its short form; keep one of them")
        changes[leaf.root][leaf.place] = value
    return _replace(scene, changes[SCENE]), _replace(cameras, changes[CAMERAS])


def _leaves(scene: Scene, cameras: Cameras) -> dict[str, _Leaf]:
    leaves: dict[str, _Leaf] = {}
    for name, item in scene.objects.items():
        start, place = f"objects.{name}.", ("objects", name)
        leaves[f"{start}mesh.vertices"] = _Leaf(SCENE, (*place, "mesh", "vertices"), item.mesh.vertices, "large_steps")
        leaves.update(_learnable_fields(f"{start}material.", (*place, "material"), item.material))
        leaves.update(_learnable_fields(start, place, item))
    for name, light in scene.lights.items():
        leaves.update(_learnable_fields(f"lights.{name}.", ("lights", name), light))
    leaves.update(_learnable_fields("", (), scene))
    for name, (field, parametrization) in CAMERA_LEAVES.items():
        value = getattr(cameras, field)
        if value is not None:
            leaves[f"cameras.{name}"] = _Leaf(CAMERAS, (field,), value, parametrization)
    return leaves


def _learnable_fields(start: str, place: tuple[str, ...], holder: Any) -> dict[str, _Leaf]:
    """The fields of a dataclass that say in their metadata how they are parametrised."""
    leaves = {}
    for field in dataclasses.fields(holder):
        if "parametrization" not in field.metadata:
            continue
        value = getattr(holder, field.name)
        if isinstance(value, IMAGES):
            value = value.texels
        if isinstance(value, Tensor):
            leaves[start + field.name] = _Leaf(SCENE, (*place, field.name), value, field.metadata["parametrization"])
    return leaves


def _resolve(scene: Scene, leaves: Mapping[str, _Leaf], path: str) -> str:
    if path in leaves:
        return path
    sole = f"objects.{next(iter(scene.objects))}." if len(scene.objects) == 1 else None
    if sole is not None and sole + path in leaves:
        return sole + path
    shown = [name.removeprefix(sole) if sole is not None else name for name in leaves]
    nearest = difflib.get_close_matches(path, [*shown, *leaves], n=1)
    endings = [name for name in leaves if name.startswith("objects.") and name.endswith(f".{path}")]
    if sole is None and endings:
        hint = f"; the scene has {len(scene.objects)} objects, so say which, as in {endings[0]}"
    else:
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
    raise ConfigError(f"there is no {path!r} in the scene{hint}\n  it has: {', '.join(shown)}")


def _replace(node: Holder, changes: Mapping[tuple[str, ...], Tensor]) -> Holder:
    """`node` with the tensors at the given places below it replaced."""
    if not changes:
        return node
    below: dict[str, dict[tuple[str, ...], Tensor]] = {}
    for (head, *rest), value in changes.items():
        below.setdefault(head, {})[tuple(rest)] = value
    if isinstance(node, Mapping):
        return {**node, **{name: _replace_at(node[name], part) for name, part in below.items()}}  # type: ignore[return-value]
    fields = {name: _replace_at(getattr(node, name), part) for name, part in below.items()}
    return dataclasses.replace(node, **fields)  # type: ignore[type-var]


def _replace_at(node: Any, changes: Mapping[tuple[str, ...], Tensor]) -> Any:
    if () not in changes:
        return _replace(node, changes)
    return dataclasses.replace(node, texels=changes[()]) if isinstance(node, IMAGES) else changes[()]
