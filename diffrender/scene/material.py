"""What a material is: one function from a point of a surface and a direction to light, to reflected light.

Light that comes from a few directions is reflected direction by direction (`Material.evaluate`). Light that comes from
everywhere, of which a sky is an image, would need hundreds of them. For it a material says, as `ReflectionLobes`, which
part of
its surroundings it shows: their mean over the hemisphere, as far as it is dull, and their means around a few
directions, as far as it shines. A sky that knows its own means answers with a look-up for each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple, TypeAlias

from torch import Tensor

from diffrender.checks import check_shape
from diffrender.ops.normalize import normalize
from diffrender.scene.shading_points import ShadingPoints
from diffrender.scene.textures.texture import Texture

SurfaceValue: TypeAlias = Tensor | Texture
"""A quantity on a surface: uniform [C], per vertex [V, C], or a Texture."""


def check_surface_value(function: str, argument: str, value: SurfaceValue, channels: int) -> None:
    """Raise ShapeError unless `value` is uniform [channels], per vertex [V, channels], or such a Texture."""
    if isinstance(value, Texture):
        check_shape(function, f"{argument}.texels", value.texels, ("H", "W", channels))
    elif isinstance(value, Tensor) and value.dim() == 1:
        check_shape(function, argument, value, (channels,))
    else:
        check_shape(function, argument, value, ("V", channels))


def check_color(function: str, argument: str, value: SurfaceValue) -> None:
    """Raise ShapeError unless `value` is a colour [3], one a vertex [V, 3], or a Texture of three channels."""
    check_surface_value(function, argument, value, 3)


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


class Material(ABC):
    """Base of all materials: a frozen dataclass whose fields are its options in scene.yaml.

    A field's metadata {"parametrization": name} says which latent keeps it in its domain when it is optimised.
    """

    needs_light: ClassVar[bool] = True

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
