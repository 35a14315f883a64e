"""Material: the interface of all materials, a BSDF over the points of a surface.

Light from a few directions is reflected direction by direction (`Material.evaluate`). Light from all directions would
need hundreds of them; for it a material describes its reflection as `ReflectionLobes`: a diffuse part, which reflects
the mean radiance of the hemisphere, and a few specular lobes, which reflect mean radiances around their directions. A
prefiltered environment answers each with one look-up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.ops.normalize import normalize
from diffrender.scene.gltf_surface import GltfSurface
from diffrender.scene.quantity_kinds import COLOR, SurfaceValue, check_surface_values, quantity
from diffrender.scene.shading_points import ShadingPoints


class SpecularLobes(NamedTuple):
    """L rotationally symmetric lobes, whose sum is the specular reflection of light from all directions.

    direction_w: [M, L, 3] unit axis of each, in the world.
    roughness: [M or 1, L] its width: that of a GGX lobe at normal incidence (alpha = roughness^2).
    weight: [M or 1, L, 3] its directional albedo: what it reflects of a uniform environment, in 0..1.
    """

    direction_w: Tensor
    roughness: Tensor
    weight: Tensor


class ReflectionLobes(NamedTuple):
    """A material's reflection of light from all directions.

    normal_w: [M, 3] unit axis of the hemisphere, in the world.
    diffuse: [M or 1, 3] diffuse albedo in 0..1: the factor of the hemisphere's cosine-weighted mean radiance.
    glossy: the specular lobes, or None where nothing is reflected so.
    """

    normal_w: Tensor
    diffuse: Tensor
    glossy: SpecularLobes | None = None


@dataclass(frozen=True)
class Material(ABC):
    """Base of all materials.

    A material is a frozen dataclass; its learnable fields are each a `quantity_kinds.quantity`: uniform [C], per vertex
    [V, C] or a Texture; others are plain values. A new one is listed in `scene.materials.MATERIALS`; config/options has
    its options.

    base_color: linear RGB in 0..1, C = 3, default 0.5; every material has one.
    needs_light: False if lights make no difference.

    Raises ShapeError for a field with a wrong number of channels.
    """

    needs_light: ClassVar[bool] = True

    base_color: SurfaceValue = quantity(COLOR, lambda: torch.full((3,), 0.5))

    def __post_init__(self) -> None:
        check_surface_values(self)

    @abstractmethod
    def emitted(self, surface: ShadingPoints) -> Tensor | None:
        """Return the [M or 1, 3] linear radiance that the surface emits, or None for none."""

    @abstractmethod
    def evaluate(self, surface: ShadingPoints, to_light_w: Tensor) -> Tensor:
        """Return BSDF times cosine, [M, S, 3] in 1/sr, for unit directions `to_light_w` [M or 1, S, 3]."""

    @abstractmethod
    def albedo(self, surface: ShadingPoints) -> Tensor:
        """Return the [M or 1, 3] directional albedo: what all lobes reflect of a uniform environment, in 0..1."""

    @abstractmethod
    def lobes(self, surface: ShadingPoints) -> ReflectionLobes:
        """Return its reflection of light from all directions."""

    def to_gltf(self) -> GltfSurface:
        """Return it as glTF can store it, or the nearest. Raises ShapeError if glTF has no equivalent."""
        raise ShapeError(f"glTF: a material of type {type(self).__name__} has no equivalent")


def shading_normal_w(surface: ShadingPoints, normal: SurfaceValue | None) -> Tensor:
    """Return [M, 3] unit normals in the world: the smooth ones, or those of a normal map in their tangent frame.

    normal: vectors (along u, up in the image, outwards) of any length, a quantity with 3 channels; None: no map.
    """
    if normal is None:
        return surface.normal_w
    x, y, z = surface.value(normal).unbind(-1)
    tangent, bitangent = surface.tangent_frame_w
    mapped = x[:, None] * tangent + y[:, None] * bitangent + z[:, None] * surface.mean_normal_w
    return normalize(mapped, backend=surface.backend)
