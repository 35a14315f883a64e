"""Unlit: a colour that does not depend on light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from diffrender.scene.gltf_surface import GltfSurface
from diffrender.scene.material import Material, ReflectionLobes
from diffrender.scene.shading_points import ShadingPoints


@dataclass(frozen=True)
class Unlit(Material):
    """A surface that emits base_color in all directions and reflects nothing, as in a capture with baked lighting.

    base_color: radiance, linear RGB in 0..1, default 0.5: uniform [3], per vertex [V, 3] or a Texture with 3 channels.

    Raises ShapeError for another shape. In a scene file:

        material: {type: unlit, base_color: {vertex: 0.5}}
    """

    needs_light: ClassVar[bool] = False

    def emitted(self, surface: ShadingPoints) -> Tensor:
        """Return base_color at each point: [M or 1, 3]."""
        return surface.value(self.base_color)

    def evaluate(self, surface: ShadingPoints, to_light_w: Tensor) -> Tensor:
        """Return zero: it reflects nothing."""
        return to_light_w.new_zeros(())

    def albedo(self, surface: ShadingPoints) -> Tensor:
        """Return zero: it reflects nothing."""
        return surface.normal_w.new_zeros(1, 3)

    def lobes(self, surface: ShadingPoints) -> ReflectionLobes:
        """Return a black diffuse lobe: it reflects nothing."""
        return ReflectionLobes(surface.normal_w, surface.normal_w.new_zeros(1, 3))

    def to_gltf(self) -> GltfSurface:
        """Return the same material."""
        return GltfSurface(self.base_color, unlit=True)
