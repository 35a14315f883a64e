"""What a scene file holds, seen before its types are checked: names of objects and lights, dotted paths."""

from __future__ import annotations

from typing import Any

from diffrender.config.options.lights import LIGHT_OPTIONS
from diffrender.config.shelf import MATERIAL_OPTIONS

UNLIT = {"unlit"}
# Options of materials and lights that are no numbers of theirs.
NEVER_LEARNED = ("type", "name", "frame", "shadow", "order", "resolution")
# What the cameras of all views have.
CAMERA_PATHS = ("cameras.pose", "cameras.focal", "cameras.exposure", "cameras.white_balance")
# Parts of a material that it does without unless the file has them.
ONLY_WHERE_WRITTEN = ("normal", "emissive")


def optimizable_paths(data: dict[str, Any]) -> dict[str, str]:
    """The dotted paths that `optimize:` may hold for this scene file, each with its one canonical form."""
    names = _object_names(data)
    paths: dict[str, str] = {}
    for name, options in names.items():
        fields = ["mesh.vertices", *(f"material.{field}" for field in _material_fields(options)), "pose", "scale"]
        full = {field: f"objects.{name}.{field}" for field in fields}
        paths |= full if len(names) == 1 else {}
        paths |= {path: path for path in full.values()}
    for name, kind in lights_by_name(data).items():
        models = [LIGHT_OPTIONS[kind]] if kind in LIGHT_OPTIONS else list(LIGHT_OPTIONS.values())
        for model in models:
            paths |= {f"lights.{name}.{field}": f"lights.{name}.{field}" for field in _tensor_fields(model)}
    return paths | {path: path for path in ("background", *CAMERA_PATHS)}


def is_image(data: dict[str, Any], path: str) -> bool:
    """Whether the value at a canonical path is a texture or an environment map, as far as the file says."""
    root, *rest = path.split(".")
    if root == "lights":
        return rest[1] == "radiance" and lights_by_name(data).get(rest[0]) == "environment"
    if root != "objects" or rest[1] != "material":
        return False
    written = as_mapping(_object_names(data)[rest[0]].get("material")).get(rest[2])
    return written == "own" or "texture" in as_mapping(written)


def _object_names(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    if data.get("objects") is None:
        return {"object": data}
    return {name_of(item) or str(i): as_mapping(item) for i, item in enumerate(as_list(data["objects"]))}


def lights_by_name(data: dict[str, Any]) -> dict[str, str | None]:
    """The type of each light by its name; None where it is not written properly."""
    if data.get("lights") is None:
        return {"ambient": "ambient"} if is_lit(data) else {}
    return {name_of(item) or str(i): _type_of(item) for i, item in enumerate(as_list(data["lights"]))}


def is_lit(data: dict[str, Any]) -> bool:
    """Whether the look of any object depends on light."""
    return any(_material_type(options, data) not in UNLIT for options in _object_names(data).values())


def _material_type(options: dict[str, Any], data: dict[str, Any]) -> str | None:
    material = options.get("material")
    if material is None:
        return "lambert" if as_list(data.get("lights")) else "unlit"
    return _type_of(material)


def _material_fields(options: dict[str, Any]) -> list[str]:
    kind = _type_of(options.get("material"))
    models = [MATERIAL_OPTIONS[kind]] if kind in MATERIAL_OPTIONS else list(MATERIAL_OPTIONS.values())
    written = as_mapping(options.get("material"))
    fields = dict.fromkeys(field for model in models for field in _tensor_fields(model))
    return [field for field in fields if field not in ONLY_WHERE_WRITTEN or written.get(field) is not None]


def _type_of(item: Any) -> str | None:
    kind = as_mapping(item).get("type") if isinstance(item, dict) else item
    return kind if isinstance(kind, str) else None


def _tensor_fields(model: Any) -> list[str]:
    return [field for field in model.model_fields if field not in NEVER_LEARNED]


def name_of(item: Any) -> str | None:
    """The name of an object or a light, which for a light without one is its type."""
    name = as_mapping(item).get("name")
    return name if isinstance(name, str) else _type_of(item)


def as_mapping(value: Any) -> dict[str, Any]:
    """`value` if it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """`value` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []
