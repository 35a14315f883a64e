"""What a material is: one function from a point of a surface and a direction to light, to reflected light.

Light that comes from a few directions is reflected direction by direction (`Material.evaluate`). Light that comes from
everywhere, of which a sky is an image, would need hundreds of them. For it a material says, as `ReflectionLobes`, which
part of its surroundings it shows: their mean over the hemisphere, as far as it is dull, and their means around a few
directions, as far as it shines. A sky that knows its own means answers with a look-up for each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.ops.normalize import normalize
from diffrender.scene.fields import COLOR, SurfaceValue, check_surface_values, quantity
from diffrender.scene.gltf_surface import GltfSurface
from diffrender.scene.shading_points import ShadingPoints


class SpecularLobe(NamedTuple):
    """The shine of a surface under light from everywhere, or a part of it: a round lobe.

    direction_w: [M, 3] unit; the middle of what it shows.
    roughness: [M or 1, 1] how wide around: that of a GGX lobe seen straight on (alpha = roughness^2).
    weight: [M or 1, 3] what it reflects of surroundings that are the same everywhere, in 0..1.
    """

    direction_w: Tensor
    roughness: Tensor
    weight: Tensor


class ReflectionLobes(NamedTuple):
    """What a material reflects of light from everywhere.

    normal_w: [M, 3] unit; of the hemisphere.
    diffuse: [M or 1, 3] what it reflects of the hemisphere's mean (weighted by the cosine), in 0..1.
    glossy: its shine, as a sum.
    """

    normal_w: Tensor
    diffuse: Tensor
    glossy: tuple[SpecularLobe, ...] = ()


@dataclass(frozen=True)
class Material(ABC):
    """Base of all materials: a frozen dataclass whose fields, each a `scene.fields.quantity`, are its options.

    base_color: the colour that people would name, linear RGB in 0..1; every material has one.
    """

    needs_light: ClassVar[bool] = True

    base_color: SurfaceValue = quantity(COLOR, lambda: torch.full((3,), 0.5))

    def __post_init__(self) -> None:
        check_surface_values(self)

    @abstractmethod
    def emitted(self, surface: ShadingPoints) -> Tensor | None:
        """[M or 1, 3] radiance that leaves the surface without any light falling on it, or None for none."""

    @abstractmethod
    def evaluate(self, surface: ShadingPoints, to_light_w: Tensor) -> Tensor:
        """BSDF times cosine, [M, S, 3] in 1/sr, for unit directions `to_light_w` [M or 1, S, 3] towards the light."""

    @abstractmethod
    def albedo(self, surface: ShadingPoints) -> Tensor:
        """[M or 1, 3] what it reflects of surroundings that are the same everywhere, in 0..1: as all its lobes do."""

    @abstractmethod
    def lobes(self, surface: ShadingPoints) -> ReflectionLobes:
        """What it reflects of light from everywhere."""

    def to_gltf(self) -> GltfSurface:
        """The same as glTF can say it, or what is nearest. Raises ShapeError where glTF has nothing for it."""
        raise ShapeError(f"glTF: there is nothing for a material of type {type(self).__name__}")


def shading_normal_w(surface: ShadingPoints, normal: SurfaceValue | None) -> Tensor:
    """[M, 3] unit normals: the surface's smooth ones, or those of a normal map in its tangent frame.

    normal: vectors (along u, up in the image, outwards) of any length, as a quantity with 3 channels; None: no map.
    """
    if normal is None:
        return surface.normal_w
    x, y, z = surface.value(normal).unbind(-1)
    tangent, bitangent = surface.tangent_frame_w
    mapped = x[:, None] * tangent + y[:, None] * bitangent + z[:, None] * surface.mean_normal_w
    return normalize(mapped, backend=surface.backend)
