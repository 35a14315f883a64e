"""AOVs (arbitrary output variables): the quantities that an image can hold per pixel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.render.radiance import radiance_of
from diffrender.scene.light import Light
from diffrender.scene.material import Material
from diffrender.scene.scene import Scene
from diffrender.scene.shading_points import ShadingPoints


@dataclass(frozen=True)
class AOV:
    """One quantity of the points that an image sees; edge models treat all AOVs alike.

    channels: C.
    of: (surface points, their material, the scene's lights) -> [M, C].
    behind: scene -> [C], the value of uncovered pixels.
    """

    channels: int
    of: Callable[[ShadingPoints, Material, list[Light]], Tensor]
    behind: Callable[[Scene], Tensor]


def _zero(channels: int) -> Callable[[Scene], Tensor]:
    return lambda scene: scene.background.new_zeros(channels)


AOVS: Mapping[str, AOV] = {
    "color": AOV(3, radiance_of, lambda scene: scene.background),
    "normal": AOV(3, lambda surface, material, lights: surface.normal_w, _zero(3)),
    "depth": AOV(1, lambda surface, material, lights: surface.depth[:, None], _zero(1)),
}
"""The AOVs by name: "color" is linear radiance over the background, "normal" unit smooth normals in the world, "depth"
camera depth in world units.

Normals and depths are means over the whole pixel, in which uncovered parts count as zero: the box-filtered image, which
has correct gradients at silhouettes. Divided by coverage they are means over the covered part.
"""


def check_aovs(function: str, names: Sequence[str]) -> tuple[str, ...]:
    """Return `names` as a tuple. Raises ShapeError for unknown, repeated or no names."""
    unknown = [name for name in names if name not in AOVS]
    if isinstance(names, str) or unknown or not names or len(set(names)) < len(names):
        raise ShapeError(f"{function}: aovs must be distinct names out of {', '.join(AOVS)}, got {names!r}")
    return tuple(names)


def background_of(scene: Scene, names: Sequence[str]) -> Tensor:
    """Return the [C] values of uncovered pixels in the AOVs `names`, one after the other."""
    parts = [AOVS[name].behind(scene) for name in names]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def channels_of(names: Sequence[str], name: str) -> slice:
    """Return the slice of the channels of `name` among those of `names`."""
    first = sum(AOVS[before].channels for before in names[: names.index(name)])
    return slice(first, first + AOVS[name].channels)
