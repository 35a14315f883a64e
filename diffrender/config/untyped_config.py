"""Inspect a scene file before its types are checked: names of objects and lights, dotted paths."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from pydantic.fields import FieldInfo

from diffrender.config.format_mistakes import most_similar
from diffrender.config.options.base import Strict, arms_of
from diffrender.config.options.lights import AnyLight
from diffrender.config.options.materials import AnyMaterial
from diffrender.config.options.value_types import NOT_LEARNED

MATERIAL_OPTIONS, LIGHT_OPTIONS = arms_of(AnyMaterial), arms_of(AnyLight)
# Values of the cameras of all views.
CAMERA_PATHS = tuple(
    f"cameras.{name}"
    for name in (
        *("pose", "focal", "center", "k1", "k2", "p1", "p2"),
        *("exposure", "white_balance", "vignetting", "response", "blur"),
    )
)


def optimizable_paths(data: dict[str, Any]) -> dict[str, str]:
    """Return the dotted paths that `optimize:` may hold for this scene file, each with its one canonical form."""
    objects = objects_by_name(data)
    paths: dict[str, str] = {}
    for name, options in objects.items():
        full = {field: f"objects.{name}.{field}" for field in _fields_of(options)}
        paths |= full if len(objects) == 1 else {}
        paths |= {path: path for path in full.values()}
    own = [
        f"lights.{name}.{key}" for name, kind in lights_by_name(data).items() for key in _learned(LIGHT_OPTIONS, kind)
    ]
    parameters = as_mapping(as_mapping(data.get("program")).get("parameters"))
    own += [f"program.{name}" for name in parameters]
    return paths | {path: path for path in (*own, "background", *CAMERA_PATHS)}


def may_be_of_part(data: dict[str, Any], path: str) -> bool:
    """Return whether `path` may name a value of a part of a mesh file, whose parts are known once it is read."""
    root, name, *rest = [*path.split("."), ""]
    owner = _owner_of_part(data, name) if root == "objects" else None
    return owner is not None and ".".join(rest).strip(".") in _fields_of(owner)


def _owner_of_part(data: dict[str, Any], name: str) -> dict[str, Any] | None:
    """Return the object whose mesh file may have a part that becomes the object `name`."""
    for owner, options in objects_by_name(data).items():
        prefix = "" if data.get("objects") is None else f"{owner}_"
        mesh = options.get("mesh")
        if ("file" in as_mapping(mesh) or PurePath(shape_name(mesh) or "").suffix) and name.startswith(prefix):
            return options
    return None


def is_image(data: dict[str, Any], path: str) -> bool:
    """Return whether the value at a canonical path is a texture or an environment map, as far as the file says."""
    root, *names = path.split(".")
    if root == "lights":
        return names[1:] == ["radiance"] and lights_by_name(data).get(names[0]) == "environment"
    if root != "objects" or names[1] != "material":
        return False
    options = objects_by_name(data).get(names[0], _owner_of_part(data, names[0]) or {})
    written = as_mapping(options.get("material")).get(names[2])
    return written == "own" or "texture" in as_mapping(written)


def objects_by_name(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the mapping of each object by name."""
    if data.get("objects") is None:
        return {"object": data}
    return {name_of(item) or str(i): as_mapping(item) for i, item in enumerate(as_list(data["objects"]))}


def lights_by_name(data: dict[str, Any]) -> dict[str, str | None]:
    """Return the type of each light by its name; None if it is not valid."""
    if data.get("lights") is None:
        return {"ambient": "ambient"} if is_lit(data) else {}
    return {_name_of_light(item) or str(i): type_of(item) for i, item in enumerate(as_list(data["lights"]))}


def _name_of_light(item: Any) -> str | None:
    """Return the name of a light; if it has none and its type is misspelt, the type that is meant."""
    name = name_of(item)
    if name is None or name != type_of(item):
        return name
    return most_similar(name, LIGHT_OPTIONS) or name


def is_lit(data: dict[str, Any]) -> bool:
    """Return whether the look of any object depends on light."""
    usual = "lambert" if as_list(data.get("lights")) else "unlit"
    materials = [options.get("material") for options in objects_by_name(data).values()]
    kinds = [usual if material is None else type_of(material) for material in materials]
    return any(kind not in MATERIAL_OPTIONS or MATERIAL_OPTIONS[kind].needs_light for kind in kinds)


def _fields_of(options: dict[str, Any]) -> list[str]:
    return ["mesh.vertices", *(f"material.{field}" for field in _material_fields(options)), "pose", "scale"]


def _material_fields(options: dict[str, Any]) -> list[str]:
    """Return what can be learned of an object's material; what is None by default exists only if the file has it."""
    written = as_mapping(options.get("material"))
    fields = _learned(MATERIAL_OPTIONS, type_of(options.get("material")))
    return [
        name
        for name, field in fields.items()
        if name == "base_color" or field.default is not None or written.get(name) is not None
    ]


def _learned(options: dict[str, Any], kind: str | None) -> dict[str, FieldInfo]:
    """Return what can be learned of an entry of type `kind`, or of any entry if there is no such type."""
    models = [options[kind]] if kind in options else options.values()
    return {key: model.model_fields[key] for model in models for key in learned_options(model)}


def learned_options(model: type[Strict]) -> list[str]:
    """Return the options of a material or a light that can be learned."""
    return [key for key, field in model.model_fields.items() if key != "type" and NOT_LEARNED not in field.metadata]


def type_of(item: Any) -> str | None:
    """Return the `type` of a mapping, or the word that is short for it."""
    kind = item.get("type") if isinstance(item, dict) else item
    return kind if isinstance(kind, str) else None


def shape_name(mesh: Any) -> str | None:
    """Return the `init` of a mesh, or the word that is short for it, which may also be a file's name."""
    name = mesh.get("init") if isinstance(mesh, dict) else mesh
    return name if isinstance(name, str) else None


def name_of(item: Any) -> str | None:
    """Return the name of an object or a light; that of a light without one is its type."""
    name = as_mapping(item).get("name")
    return name if isinstance(name, str) else type_of(item)


def item_name(item: Any) -> str | None:
    """Return the name of a list entry in paths and messages, or the type of a light; None: use the index."""
    name = as_mapping(item).get("name", type_of(item))
    return name if isinstance(name, str) and ("name" in as_mapping(item) or name in LIGHT_OPTIONS) else None


def as_mapping(value: Any) -> dict[str, Any]:
    """Return `value` if it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """Return `value` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []
