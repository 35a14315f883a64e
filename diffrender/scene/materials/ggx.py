"""The metallic-roughness material of glTF."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffrender.ops.ggx import ggx
from diffrender.ops.ggx.formulas import DIELECTRIC_F0, LEAST_COSINE, LEAST_ROUGHNESS
from diffrender.scene.material import (
    Glossy,
    Lobes,
    Material,
    SurfaceValue,
    check_color,
    check_surface_value,
    shading_normal_w,
)
from diffrender.scene.materials.lobe_table import seen_lobes
from diffrender.scene.materials.microfacets import diffuse_table, reflected_shares
from diffrender.scene.surface import Surface


@dataclass(frozen=True)
class Ggx(Material):
    """A dielectric over a diffuse base, a metal, or a mixture: glTF 2.0's metallic-roughness material.

        bsdf = D V F + (1 - metallic) base_color / pi T(n.l) T(n.v)       f0 = lerp(0.04, base_color, metallic)

    with D, V, F of `ops.ggx.formulas`, as glTF's appendix B has them. The one difference: its sample code weights the
    diffuse part by 1 - F(v.h), which reflects up to 1.27 times the light that arrives where a smooth white surface is
    seen from the side; here it is weighted by T (`diffuse_table`), so that a white dielectric reflects exactly what it
    receives. Straight on, and for rough surfaces, the two differ by about one in a hundred. Light that bounces between
    facets is left out, as in the sample code: a white metal of roughness 1, seen from above, reflects a third of a
    white sky.

    base_color: linear RGB in 0..1: colour of the diffuse base, and of a metal's reflections.
    metallic: in 0..1. roughness: in 0..1, alpha = roughness^2; below 0.045 it shades as 0.045.
    normal: a normal map: vectors in the tangent frame (along u, up in the image, outwards); None for none.
    emissive: linear radiance that the surface sends out by itself; None for none.

    Each is uniform [C], per vertex [V, C] or a Texture, with C = 1 for metallic and roughness and else 3.
    """

    base_color: SurfaceValue = field(
        default_factory=lambda: torch.full((3,), 0.5), metadata={"parametrization": "unit_interval"}
    )
    metallic: SurfaceValue = field(
        default_factory=lambda: torch.zeros(1), metadata={"parametrization": "unit_interval"}
    )
    roughness: SurfaceValue = field(
        default_factory=lambda: torch.full((1,), 0.5), metadata={"parametrization": "unit_interval"}
    )
    normal: SurfaceValue | None = field(default=None, metadata={"parametrization": "direction"})
    emissive: SurfaceValue | None = field(default=None, metadata={"parametrization": "positive"})

    def __post_init__(self) -> None:
        check_color("Ggx", "base_color", self.base_color)
        check_surface_value("Ggx", "metallic", self.metallic, 1)
        check_surface_value("Ggx", "roughness", self.roughness, 1)
        for name, value in (("normal", self.normal), ("emissive", self.emissive)):
            if value is not None:
                check_color("Ggx", name, value)

    def emitted(self, surface: Surface) -> Tensor | None:
        """emissive, or None."""
        return None if self.emissive is None else surface.value(self.emissive)

    def evaluate(self, surface: Surface, to_light_w: Tensor) -> Tensor:
        """bsdf times n.l, zero from behind: [M, S, 3]."""
        normal_w = shading_normal_w(surface, self.normal)
        # Defaults are float32, whatever the scene is in.
        color, metallic, roughness = (
            surface.value(value).to(normal_w.dtype) for value in (self.base_color, self.metallic, self.roughness)
        )
        return ggx(
            normal_w,
            surface.to_camera_w,
            to_light_w.to(normal_w.dtype),
            color,
            metallic,
            roughness,
            diffuse_table(normal_w),
            backend=surface.backend,
        )

    def lobes(self, surface: Surface) -> Lobes:
        """Exact for surroundings that are the same everywhere; how it sees others is approximated.

        The diffuse base sees them weighted by the cosine alone, and the shine by three round lobes, each that of GGX as
        it is seen straight on (the split sum of Karis 2013 with more lobes than one, `lobe_table`).
        """
        normal_w = shading_normal_w(surface, self.normal)
        cos_camera = (normal_w * surface.to_camera_w).sum(-1, keepdim=True)
        mirrored_w = 2 * cos_camera * normal_w - surface.to_camera_w
        cos_camera = cos_camera.clamp_min(LEAST_COSINE)
        base_color, metallic = surface.value(self.base_color), surface.value(self.metallic)
        roughness = surface.value(self.roughness).clamp(LEAST_ROUGHNESS, 1)
        straight, grazing = reflected_shares(roughness, cos_camera)
        f0 = DIELECTRIC_F0 + metallic * (base_color - DIELECTRIC_F0)
        left_over = 1 - (DIELECTRIC_F0 * straight + grazing)
        diffuse = base_color * ((1 - metallic) * left_over)
        seen = seen_lobes(roughness, cos_camera)
        glossy = []
        for towards, width, share, grazing_share in zip(*(each.split(1, -1) for each in seen), strict=True):
            direction_w = torch.nn.functional.normalize(torch.lerp(normal_w, mirrored_w, towards), dim=1)
            glossy.append(Glossy(direction_w, width, f0 * (straight * share) + grazing * grazing_share))
        return Lobes(normal_w, diffuse, tuple(glossy))
