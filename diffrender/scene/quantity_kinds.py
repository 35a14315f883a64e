"""Fields of scenes, materials and lights: the kind of quantity each holds, and functions over all of them.

`quantity` declares a field with its `Kind`. Code that handles materials or lights of every type (files, priors,
metrics, learning rates) asks for kinds, and for no name but `base_color`, which every material has. Only the maps that
a mesh file brings along go by name (setup.material_inputs).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias, TypeVar

from torch import Tensor

from diffrender.checks import check_float, check_shape
from diffrender.errors import ShapeError
from diffrender.scene.textures.texture import Texture

Node = TypeVar("Node")

SurfaceValue: TypeAlias = Tensor | Texture
"""A quantity on a surface: uniform [C], per vertex [V, C], or a Texture with C channels."""


@dataclass(frozen=True)
class Kind:
    """The kind of quantity that a field holds.

    parametrization: name of the parametrization (fit.parametrizations) that keeps it in its domain during a fit.
    channels: C of a quantity on a surface.
    is_color: whether it is linear RGB, which image files store as sRGB.
    is_bounded: whether no value exceeds 1.
    """

    name: str
    parametrization: str
    channels: int = 3
    is_color: bool = False
    is_bounded: bool = True


# On surfaces. COLOR: linear RGB in 0..1. SHARE: a number in 0..1. NUMBER: a positive number. NORMAL: vectors in the
# tangent frame (along u, up in the image, outwards).
COLOR = Kind("color", "unit_interval", is_color=True)
SHARE = Kind("share", "unit_interval", 1)
NUMBER = Kind("number", "positive", 1, is_bounded=False)
NORMAL = Kind("normal", "direction")
# On surfaces and of lights. RADIANCE: linear RGB, at least 0. HARMONICS: its coefficients, of any sign.
RADIANCE = Kind("radiance", "positive", is_color=True, is_bounded=False)
HARMONICS = Kind("harmonics", "identity", is_color=True, is_bounded=False)
# Of lights, in their frame. ROTATION: rotation vector in radians. ANGLE: degrees.
POSITION = Kind("position", "identity", is_bounded=False)
DIRECTION = Kind("direction", "direction")
ROTATION = Kind("rotation", "identity", is_bounded=False)
ANGLE = Kind("angle", "positive", 1, is_bounded=False)
# Of objects and cameras.
VERTICES = Kind("vertices", "large_steps", is_bounded=False)
POSE = Kind("pose", "pose", is_bounded=False)
CAMERA_POSES = Kind("pose", "camera_poses", is_bounded=False)
SCALE = Kind("scale", "positive", 1, is_bounded=False)
BLUR = Kind("blur", "positive", 1, is_bounded=False)
CENTER = Kind("center", "identity", is_bounded=False)
DISTORTION = Kind("distortion", "identity", 1, is_bounded=False)
EXPOSURE = Kind("exposure", "zero_mean", 1, is_bounded=False)
WHITE_BALANCE = Kind("white_balance", "balanced", is_bounded=False)
VIGNETTING = Kind("vignetting", "identity", is_bounded=False)
RESPONSE = Kind("response", "monotone", is_bounded=False)
# Of programs: numbers of any meaning.
PARAMETER = Kind("parameter", "identity", 1, is_bounded=False)


def quantity(kind: Kind, default: Callable[[], Any] | None = None) -> Any:
    """Declare a learnable dataclass field; `default` makes its value if omitted; None: the field is then None."""
    metadata = {"kind": kind}
    if default is None:
        return dataclasses.field(default=None, metadata=metadata)
    return dataclasses.field(default_factory=default, metadata=metadata)


def check_surface_value(function: str, argument: str, value: SurfaceValue, channels: int) -> None:
    """Raise ShapeError unless `value` is [channels], [V, channels], or a Texture with that many channels, of floats."""
    if isinstance(value, Texture):
        check_shape(function, f"{argument}.texels", value.texels, ("H", "W", channels))
        return
    is_uniform = isinstance(value, Tensor) and value.dim() == 1
    check_shape(function, argument, value, (channels,) if is_uniform else ("V", channels))
    if not value.is_floating_point():
        raise ShapeError(
            f"{function}: {argument} must be float32 or float64, got {value.dtype}; bytes become numbers in 0..1 by"
            " division by 255, and sRGB then linear by diffrender.imaging.color.linear_from_srgb"
        )
    check_float(function, argument, value)


def check_surface_values(holder: Any) -> None:
    """Raise ShapeError unless each quantity of a dataclass is a SurfaceValue of its kind, or None if optional."""
    kinds = kinds_of(holder)
    for field in dataclasses.fields(holder):
        is_missing = field.default is None and getattr(holder, field.name) is None
        if field.name in kinds and not is_missing:
            value = getattr(holder, field.name)
            check_surface_value(type(holder).__name__, field.name, value, kinds[field.name].channels)


def fields_of(holder: Any) -> dict[str, Any]:
    """Return the values of a dataclass's fields by name, without derived ones (compare=False)."""
    return {name: getattr(holder, name) for name in _compared(type(holder))}


@cache
def _compared(holder: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(holder) if field.compare)


def kinds_of(holder: Any) -> dict[str, Kind]:
    """Return the kinds of a dataclass's quantities by name, missing ones included; holder: the object or its class."""
    return {field.name: field.metadata["kind"] for field in dataclasses.fields(holder) if "kind" in field.metadata}


def textures_of(holder: Any) -> dict[str, Texture]:
    """Return the fields of a dataclass that hold textures, by name."""
    return {name: value for name, value in fields_of(holder).items() if isinstance(value, Texture)}


def vertex_fields_of(holder: Any, n_vertices: int) -> dict[str, Tensor]:
    """Return the fields of a dataclass that have one row per vertex, by name."""
    return {
        name: value
        for name, value in fields_of(holder).items()
        if isinstance(value, Tensor) and value.dim() == 2 and len(value) == n_vertices
    }


def map_tensors(node: Node, change: Callable[[Tensor], Tensor]) -> Node:
    """Return `node` with `change` applied to all tensors in its dataclasses and mappings; itself if none changes."""
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


def named_tensors(node: Any, path: str) -> Iterator[tuple[str, Tensor]]:
    """Yield all tensors in the dataclasses and mappings of `node`, with their dotted paths from `path` on."""
    if isinstance(node, Tensor):
        yield path, node
        return
    is_holder = dataclasses.is_dataclass(node)
    if is_holder or isinstance(node, Mapping):
        for name, part in (fields_of(node) if is_holder else node).items():
            yield from named_tensors(part, f"{path}.{name}")
