"""Colour that does not depend on light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from diffrender.scene.gltf_surface import GltfSurface
from diffrender.scene.material import Material, ReflectionLobes
from diffrender.scene.shading_points import ShadingPoints


@dataclass(frozen=True)
class Unlit(Material):
    """Looks the same from everywhere in any light; what a capture with baked lighting is.

    base_color: radiance, linear RGB: uniform [3], per vertex [V, 3] or a Texture.
    """

    needs_light: ClassVar[bool] = False

    def emitted(self, surface: ShadingPoints) -> Tensor:
        """base_color at each point: [M, 3]."""
        return surface.value(self.base_color)

    def evaluate(self, surface: ShadingPoints, to_light_w: Tensor) -> Tensor:
        """Reflects nothing."""
        return to_light_w.new_zeros(())

    def albedo(self, surface: ShadingPoints) -> Tensor:
        """Reflects nothing."""
        return surface.normal_w.new_zeros(1, 3)

    def lobes(self, surface: ShadingPoints) -> ReflectionLobes:
        """Reflects nothing."""
        return ReflectionLobes(surface.normal_w, surface.normal_w.new_zeros(1, 3))

    def to_gltf(self) -> GltfSurface:
        """Exactly this."""
        return GltfSurface(self.base_color, unlit=True)
