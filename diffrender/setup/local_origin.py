"""Fit far from the world's origin: positions in a scene file are taken relative to a point near the cameras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

from diffrender.config.options.objects import ObjectOptions, SceneParts
from diffrender.config.schema import FitConfig

Origin = tuple[float, float, float]
Parts = TypeVar("Parts", bound=SceneParts)
Light = TypeVar("Light", bound=BaseModel)
ZERO: Origin = (0.0, 0.0, 0.0)


def shift_positions(config: Parts, by: Origin) -> Parts:
    """Return `config` with `by` added to all positions in the world, in float64.

    Those are translations of poses, `center` and `aabb` of meshes without a pose, positions of lights that are fixed to
    the world, and the point of a mirror plane of an object without a pose. Vertices in files are left to their reader.
    """
    if by == ZERO:
        return config
    update: dict[str, Any] = {}
    if config.objects is not None:
        update["objects"] = [_shift_object(item, by) for item in config.objects]
    else:
        (item,) = config.all_objects()
        moved = _shift_object(item, by)
        update |= {"mesh": moved.mesh, "pose": moved.pose}
    if config.lights is not None:
        update["lights"] = shift_lights(config.lights, by)
    loss = config.loss if isinstance(config, FitConfig) else None
    symmetry = None if loss is None else loss.symmetry
    if loss is not None and symmetry is not None and all(item.pose is None for item in config.all_objects()):
        update["loss"] = loss.model_copy(update={"symmetry": _shift(symmetry, by, "point")})
    return config.model_copy(update=update)


def shift_lights(lights: Sequence[Light], by: Origin) -> list[Light]:
    """Return the options of lights with `by` added to the positions of those that are fixed to the world."""
    return [_shift(light, by, "position") if getattr(light, "frame", "world") == "world" else light for light in lights]


def _shift_object(item: ObjectOptions, by: Origin) -> ObjectOptions:
    if item.pose is not None:
        return item.model_copy(update={"pose": _shift(item.pose, by, "translation")})
    return item if item.mesh is None else item.model_copy(update={"mesh": _shift(item.mesh, by, "center", "aabb")})


def _shift(options: Any, by: Origin, *names: str) -> Any:
    """Return `options` with `by` added to the points, or boxes of two, called `names`, if they have them."""
    assert isinstance(options, BaseModel)
    update = {}
    for name in names:
        value = getattr(options, name, None)
        if value is not None:
            is_box = isinstance(value[0], tuple)
            update[name] = tuple(_add(point, by) for point in value) if is_box else _add(value, by)
    return options.model_copy(update=update)


def _add(point: Origin, by: Origin) -> Origin:
    x, y, z = (a + b for a, b in zip(point, by, strict=True))
    return x, y, z
