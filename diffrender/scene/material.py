"""What a material is: one function from a point of a surface and a direction to light, to reflected light."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, TypeAlias

from torch import Tensor

from diffrender.checks import check_shape
from diffrender.scene.surface import Surface
from diffrender.scene.texture import Texture

SurfaceValue: TypeAlias = Tensor | Texture
"""A quantity on a surface: uniform [C], per vertex [V, C], or a Texture."""


def check_color(function: str, argument: str, value: SurfaceValue) -> None:
    """Raise ShapeError unless `value` is a colour [3], one a vertex [V, 3], or a Texture of three channels."""
    if isinstance(value, Texture):
        check_shape(function, f"{argument}.texels", value.texels, ("H", "W", 3))
    elif isinstance(value, Tensor) and value.dim() == 1:
        check_shape(function, argument, value, (3,))
    else:
        check_shape(function, argument, value, ("V", 3))


class Material(ABC):
    """Base of all materials: a frozen dataclass whose fields are its options in scene.yaml.

    A field's metadata {"parametrization": name} says which latent keeps it in its domain when it is optimised.
    """

    needs_light: ClassVar[bool] = True

    @abstractmethod
    def emitted(self, surface: Surface) -> Tensor | None:
        """[M, 3] radiance that leaves the surface without any light falling on it, or None for none."""

    @abstractmethod
    def evaluate(self, surface: Surface, to_light_w: Tensor) -> Tensor:
        """BSDF times cosine, [M, S, 3] in 1/sr, for unit directions `to_light_w` [M or 1, S, 3] towards the light."""
