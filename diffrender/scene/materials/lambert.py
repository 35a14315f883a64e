"""Ideal diffuse reflection."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diffrender.ops.lambert import lambert
from diffrender.scene.fields import NORMAL, SurfaceValue, quantity
from diffrender.scene.gltf_surface import GltfSurface
from diffrender.scene.material import Material, ReflectionLobes, shading_normal_w
from diffrender.scene.shading_points import ShadingPoints


@dataclass(frozen=True)
class Lambert(Material):
    """Reflects base_color / pi in every direction.

    base_color: albedo, linear RGB in 0..1: uniform [3], per vertex [V, 3] or a Texture.
    normal: a normal map: vectors in the tangent frame (along u, up in the image, outwards), in the same forms; or None.
    """

    normal: SurfaceValue | None = quantity(NORMAL)

    def emitted(self, surface: ShadingPoints) -> None:
        """Nothing."""
        return None

    def evaluate(self, surface: ShadingPoints, to_light_w: Tensor) -> Tensor:
        """base_color / pi times the cosine between normal and light, zero from behind: [M, S, 3]."""
        normal_w = shading_normal_w(surface, self.normal)
        # Defaults are float32, whatever the scene is in.
        to_light_w, color = to_light_w.to(normal_w.dtype), surface.value(self.base_color).to(normal_w.dtype)
        return lambert(normal_w, to_light_w, color, backend=surface.backend)

    def albedo(self, surface: ShadingPoints) -> Tensor:
        """base_color."""
        return surface.value(self.base_color)

    def lobes(self, surface: ShadingPoints) -> ReflectionLobes:
        """base_color times the mean of the hemisphere, exactly."""
        return ReflectionLobes(shading_normal_w(surface, self.normal), surface.value(self.base_color))

    def to_gltf(self) -> GltfSurface:
        """Exactly this."""
        return GltfSurface(self.base_color, normal=self.normal, specular=False)
