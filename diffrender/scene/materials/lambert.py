"""Lambert: ideal diffuse reflection."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diffrender.ops.lambert import lambert
from diffrender.scene.gltf_surface import GltfSurface
from diffrender.scene.material import Material, ReflectionLobes, shading_normal_w
from diffrender.scene.quantity_kinds import NORMAL, SurfaceValue, quantity
from diffrender.scene.shading_points import ShadingPoints


@dataclass(frozen=True)
class Lambert(Material):
    """An ideal diffuse surface: bsdf = base_color / pi.

    base_color: albedo, linear RGB in 0..1, default 0.5.
    normal: normal map: vectors in the tangent frame (along u, up in the image, outwards); None (default) for none.

    Each is uniform [3], per vertex [V, 3] or a Texture with 3 channels. Raises ShapeError for another shape. In a scene
    file:

        material: {type: lambert, base_color: [0.8, 0.35, 0.1]}
    """

    normal: SurfaceValue | None = quantity(NORMAL)

    def emitted(self, surface: ShadingPoints) -> None:
        """Return None: it emits nothing."""
        return None

    def evaluate(self, surface: ShadingPoints, to_light_w: Tensor) -> Tensor:
        """Return base_color / pi times n.l, zero for light from behind: [M, S, 3]."""
        normal_w = shading_normal_w(surface, self.normal)
        # Defaults are float32, whatever the scene's dtype is.
        to_light_w, color = to_light_w.to(normal_w.dtype), surface.value(self.base_color).to(normal_w.dtype)
        return lambert(normal_w, to_light_w, color, backend=surface.backend)

    def albedo(self, surface: ShadingPoints) -> Tensor:
        """Return base_color at each point."""
        return surface.value(self.base_color)

    def lobes(self, surface: ShadingPoints) -> ReflectionLobes:
        """Return a diffuse lobe of albedo base_color, which is exact."""
        return ReflectionLobes(shading_normal_w(surface, self.normal), surface.value(self.base_color))

    def to_gltf(self) -> GltfSurface:
        """Return the same material."""
        return GltfSurface(self.base_color, normal=self.normal, specular=False)
