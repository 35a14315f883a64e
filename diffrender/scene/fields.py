"""The fields of scenes, materials and lights: what sort of quantity each holds, and how to walk all of them.

A field says its `Kind` where it is declared, by `quantity`. Whatever works on materials or lights of every type (files,
priors, metrics, learning rates) asks for kinds and not for names, so that a new type needs no entry anywhere else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from torch import Tensor

from diffrender.checks import check_shape
from diffrender.scene.textures.texture import Texture

Node = TypeVar("Node")

SurfaceValue: TypeAlias = Tensor | Texture
"""A quantity on a surface: uniform [C], per vertex [V, C], or a Texture."""


@dataclass(frozen=True)
class Kind:
    """What sort of quantity a field holds.

    parametrization: the name of the one that keeps it in its domain when it is optimised.
    channels: C of a quantity on a surface.
    is_color: linear RGB; image files hold it in sRGB. is_bounded: no value is above 1.
    """

    name: str
    parametrization: str
    channels: int = 3
    is_color: bool = False
    is_bounded: bool = True


# Of surfaces. COLOR: linear RGB in 0..1. SHARE: a number in 0..1. NUMBER: one above 0. NORMAL: vectors in the tangent
# frame (along u, up in the image, outwards).
COLOR = Kind("color", "unit_interval", is_color=True)
SHARE = Kind("share", "unit_interval", 1)
NUMBER = Kind("number", "positive", 1, is_bounded=False)
NORMAL = Kind("normal", "direction")
# Of surfaces and lights: linear RGB, at least 0. HARMONICS: coefficients of such, of any sign.
RADIANCE = Kind("radiance", "positive", is_color=True, is_bounded=False)
HARMONICS = Kind("harmonics", "identity", is_color=True, is_bounded=False)
# Of lights, in their frame. ROTATION: a rotation vector in radians. ANGLE: degrees.
POSITION = Kind("position", "identity", is_bounded=False)
DIRECTION = Kind("direction", "direction")
ROTATION = Kind("rotation", "identity", is_bounded=False)
ANGLE = Kind("angle", "positive", 1, is_bounded=False)
# Of objects and cameras.
VERTICES = Kind("vertices", "large_steps", is_bounded=False)
POSE = Kind("pose", "pose", is_bounded=False)
SCALE = Kind("scale", "positive", 1, is_bounded=False)
EXPOSURE = Kind("exposure", "zero_mean", 1, is_bounded=False)
WHITE_BALANCE = Kind("white_balance", "balanced", is_bounded=False)


def quantity(kind: Kind, default: Callable[[], Any] | None = None) -> Any:
    """Declare a dataclass field that can be learned; default: makes its value; None: it may be missing, and is."""
    metadata = {"kind": kind}
    if default is None:
        return dataclasses.field(default=None, metadata=metadata)
    return dataclasses.field(default_factory=default, metadata=metadata)


def check_surface_value(function: str, argument: str, value: SurfaceValue, channels: int) -> None:
    """Raise ShapeError unless `value` is uniform [channels], per vertex [V, channels], or such a Texture."""
    if isinstance(value, Texture):
        check_shape(function, f"{argument}.texels", value.texels, ("H", "W", channels))
    elif isinstance(value, Tensor) and value.dim() == 1:
        check_shape(function, argument, value, (channels,))
    else:
        check_shape(function, argument, value, ("V", channels))


def check_surface_values(holder: Any) -> None:
    """Raise ShapeError unless each quantity of a dataclass is a SurfaceValue of its kind, or missing and may be."""
    kinds = kinds_of(holder)
    for field in dataclasses.fields(holder):
        is_missing = field.default is None and getattr(holder, field.name) is None
        if field.name in kinds and not is_missing:
            value = getattr(holder, field.name)
            check_surface_value(type(holder).__name__, field.name, value, kinds[field.name].channels)


def fields_of(holder: Any) -> dict[str, Any]:
    """The values of a dataclass's fields by name, without those that follow from others (compare=False)."""
    return {field.name: getattr(holder, field.name) for field in dataclasses.fields(holder) if field.compare}


def kinds_of(holder: Any) -> dict[str, Kind]:
    """The kinds of a dataclass's quantities by name, of those that are missing, too; holder: it, or its class."""
    return {field.name: field.metadata["kind"] for field in dataclasses.fields(holder) if "kind" in field.metadata}


def textures_of(holder: Any) -> dict[str, Texture]:
    """The fields of a dataclass that are textures."""
    return {name: value for name, value in fields_of(holder).items() if isinstance(value, Texture)}


def vertex_fields_of(holder: Any, n_vertices: int) -> dict[str, Tensor]:
    """The fields of a dataclass that have one row per vertex."""
    return {
        name: value
        for name, value in fields_of(holder).items()
        if isinstance(value, Tensor) and value.dim() == 2 and len(value) == n_vertices
    }


def map_tensors(node: Node, change: Callable[[Tensor], Tensor]) -> Node:
    """`node` with `change` applied to all tensors in it, through dataclasses and mappings; itself if none changes."""
    if isinstance(node, Tensor):
        return change(node)
    is_mapping = isinstance(node, Mapping)
    if not is_mapping and not dataclasses.is_dataclass(node):
        return node
    parts = dict(node) if is_mapping else fields_of(node)
    mapped = {name: map_tensors(part, change) for name, part in parts.items()}
    changed: Any = {name: part for name, part in mapped.items() if part is not parts[name]}
    if not changed:
        return node
    return {**parts, **changed} if is_mapping else dataclasses.replace(node, **changed)  # type: ignore[return-value,type-var]
