"""Parameter paths: dotted names of everything in a scene that can be learned.

    objects.<name>.mesh.vertices        objects.<name>.pose     objects.<name>.material.<field>
    objects.<name>.scale                lights.<name>.<field>   background
    cameras.pose (cam_from_world)       cameras.focal (focal_px)    cameras.center (center_px)
    cameras.exposure, white_balance, vignetting, response, blur (those that the cameras have)
    cameras.<parameter of the projection>, such as cameras.k1
    program.<name>                      a parameter of the program that other values follow from (if there is one)

In a scene with exactly one object, `objects.<name>.` may be omitted. The value of a Texture or EnvMap is its texels.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from torch import Tensor

from diffrender.errors import ConfigError, ShapeError
from diffrender.scene.cameras import Cameras
from diffrender.scene.environment.env_map import EnvMap
from diffrender.scene.quantity_kinds import (
    BLUR,
    CAMERA_POSES,
    CENTER,
    DISTORTION,
    EXPOSURE,
    PARAMETER,
    RESPONSE,
    SCALE,
    VERTICES,
    VIGNETTING,
    WHITE_BALANCE,
    Kind,
    kinds_of,
    map_tensors,
)
from diffrender.scene.scene import Scene
from diffrender.scene.textures.texture import Texture

Holder = TypeVar("Holder")

# Name in a path -> (field of Cameras, its kind); paths use shorter names than the fields have.
CAMERA_LEAVES = {
    "pose": ("cam_from_world", CAMERA_POSES),
    "focal": ("focal_px", SCALE),
    "center": ("center_px", CENTER),
    "exposure": ("exposure", EXPOSURE),
    "white_balance": ("white_balance", WHITE_BALANCE),
    "vignetting": ("vignetting", VIGNETTING),
    "response": ("response", RESPONSE),
    "blur": ("blur_px", BLUR),
}
PARTS = ("mesh", "material")
# Images; their value is their texels.
IMAGES = (Texture, EnvMap)


@dataclass(frozen=True)
class ParameterPath:
    """The parts of a canonical path; `str` joins them.

    root: "objects", "lights", "cameras", "program", or "" for the scene's own fields. name: of the object or light,
        otherwise "".
    part: "mesh" or "material" of an object, otherwise "". field: the last name, such as "roughness".
    """

    root: str
    name: str
    part: str
    field: str

    @classmethod
    def parse(cls, path: str) -> ParameterPath:
        """Split a canonical path into its parts. Names may contain dots."""
        owner, _, field = path.rpartition(".")
        root, _, name = owner.partition(".")
        before, _, last = name.rpartition(".")
        if root == "objects" and before and last in PARTS:
            return cls(root, before, last, field)
        return cls(root, name, "", field)

    @classmethod
    def vertices(cls, name: str) -> ParameterPath:
        """Return the path of the vertices of the object `name`."""
        return cls("objects", name, "mesh", "vertices")

    @classmethod
    def material(cls, name: str, field: str) -> ParameterPath:
        """Return the path of a field of the material of the object `name`."""
        return cls("objects", name, "material", field)

    @property
    def steps(self) -> tuple[str, ...]:
        """The attributes and keys that lead from the scene to the value."""
        return tuple(filter(None, (self.root, self.name, self.part, self.field)))

    @property
    def is_vertices(self) -> bool:
        """Whether it is the path of an object's vertices."""
        return (self.part, self.field) == ("mesh", "vertices")

    @property
    def is_placement(self) -> bool:
        """Whether it is the path of an object's pose or scale."""
        return self.root == "objects" and not self.part and self.field in ("pose", "scale")

    def __str__(self) -> str:
        return ".".join(self.steps)


class _Leaf(NamedTuple):
    """A value, its kind, and the attributes and keys that lead to it from the scene or from the cameras."""

    of_cameras: bool
    steps: tuple[str, ...]
    value: Tensor
    kind: Kind


def learnable_paths(scene: Scene, cameras: Cameras) -> list[str]:
    """Return all canonical paths of `scene` and `cameras`, in a fixed order."""
    return list(_leaves(scene, cameras))


def canonical_path(scene: Scene, cameras: Cameras, path: str) -> str:
    """Return `path` in full. Raises ConfigError for an unknown path, naming the nearest and the available ones."""
    return _resolve(scene, _leaves(scene, cameras), path)


def kind_of(scene: Scene, cameras: Cameras, path: str) -> Kind:
    """Return the kind of quantity at `path`."""
    leaves = _leaves(scene, cameras)
    return leaves[_resolve(scene, leaves, path)].kind


def kind_in(scene: Scene, path: str) -> Kind:
    """Return the kind of quantity at the canonical `path` of a scene."""
    return _leaves_of_scene(scene)[path].kind


def get_value(scene: Scene, cameras: Cameras, path: str) -> Tensor:
    """Return the tensor at `path`."""
    leaves = _leaves(scene, cameras)
    return leaves[_resolve(scene, leaves, path)].value


def replace_values(scene: Scene, cameras: Cameras, values: Mapping[str, Tensor]) -> tuple[Scene, Cameras]:
    """Return scene and cameras with other tensors at the given paths; everything else is shared with the originals.

    Raises ConfigError for an unknown path or one given twice, ShapeError for a value of another shape than before.
    """
    leaves = _leaves(scene, cameras)
    changes: dict[bool, dict[tuple[str, ...], Tensor]] = {False: {}, True: {}}
    for path, value in values.items():
        canonical = _resolve(scene, leaves, path)
        leaf = leaves[canonical]
        if value.shape != leaf.value.shape:
            raise ShapeError(
                f"replace_values: {canonical} must keep its shape {list(leaf.value.shape)}, got {list(value.shape)}"
            )
        if leaf.steps in changes[leaf.of_cameras]:
            raise ConfigError(f"{canonical} is given twice, in full and in its short form; keep one of them")
        changes[leaf.of_cameras][leaf.steps] = value
    return _replace(scene, changes[False]), _replace(cameras, changes[True])


def scene_values(scene: Scene) -> dict[str, Tensor]:
    """Return all tensors of `scene` that can be learned, by canonical path."""
    return {path: leaf.value for path, leaf in _leaves_of_scene(scene).items()}


def resolve_path(scene: Scene, path: str) -> str:
    """Return `path` of a value of the scene in full. Raises ConfigError for an unknown path."""
    return _resolve(scene, _leaves_of_scene(scene), path)


def with_values(scene: Scene, values: Mapping[str, Tensor]) -> Scene:
    """Return `scene` with other tensors, of the same shapes, at canonical paths."""
    return _replace(scene, {ParameterPath.parse(path).steps: value for path, value in values.items()})


def scene_at(scene: Scene, row: int) -> Scene:
    """Return `scene` as it is at one of the times of its motion, without motion.

    Values of lights or materials that other ones have taken the place of, as in clay, are left out.
    """
    if scene.motion is None:
        return scene
    now, values = scene_values(scene), scene.motion.at(row)
    kept = {path: value for path, value in values.items() if path in now and now[path].shape == value.shape}
    return dataclasses.replace(with_values(scene, kept), motion=None)


def _leaves(scene: Scene, cameras: Cameras) -> dict[str, _Leaf]:
    leaves = _leaves_of_scene(scene)
    for name, (field, kind) in CAMERA_LEAVES.items():
        value = getattr(cameras, field)
        if value is not None:
            leaves[str(ParameterPath("cameras", "", "", name))] = _Leaf(True, (field,), value, kind)
    for name, value in cameras.projection.parameters().items():
        leaves[str(ParameterPath("cameras", "", "", name))] = _Leaf(True, ("projection", name), value, DISTORTION)
    return leaves


def _leaves_of_scene(scene: Scene) -> dict[str, _Leaf]:
    leaves: dict[str, _Leaf] = {}
    for name, item in scene.objects.items():
        vertices = ParameterPath.vertices(name)
        leaves[str(vertices)] = _Leaf(False, vertices.steps, item.mesh.vertices, VERTICES)
        leaves |= _leaves_of(item.material, "objects", name, "material")
        leaves |= _leaves_of(item, "objects", name)
    for name, light in scene.lights.items():
        leaves |= _leaves_of(light, "lights", name)
    leaves |= _leaves_of(scene)
    for name, value in scene.program.items():
        path = ParameterPath("program", "", "", name)
        leaves[str(path)] = _Leaf(False, path.steps, value, PARAMETER)
    return leaves


def _leaves_of(holder: Any, root: str = "", name: str = "", part: str = "") -> dict[str, _Leaf]:
    """Return the quantities of a dataclass that are not None."""
    leaves = {}
    for field, kind in kinds_of(holder).items():
        path, value = ParameterPath(root, name, part, field), getattr(holder, field)
        if isinstance(value, IMAGES):
            value = value.texels
        if isinstance(value, Tensor):
            leaves[str(path)] = _Leaf(False, path.steps, value, kind)
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
        hint = f"; the scene has {len(scene.objects)} objects, so name one, as in {endings[0]}"
    else:
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
    raise ConfigError(f"there is no {path!r} in the scene{hint}\n  it has: {', '.join(shown)}")


def _replace(node: Holder, changes: Mapping[tuple[str, ...], Tensor]) -> Holder:
    """Return `node` with the tensors at the given steps below it replaced."""
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
    return map_tensors(node, lambda _: changes[()]) if () in changes else _replace(node, changes)
