"""A diffuse base under a Blinn-Phong highlight."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from diffrender.ops.ggx.formulas import LEAST_COSINE, LEAST_ROUGHNESS
from diffrender.scene.fields import COLOR, NORMAL, NUMBER, SurfaceValue, map_tensors, quantity
from diffrender.scene.gltf_surface import GltfSurface
from diffrender.scene.material import Material, ReflectionLobes, SpecularLobe, shading_normal_w
from diffrender.scene.materials.albedo_tables import integrate, look_up, table_of
from diffrender.scene.shading_points import ShadingPoints


@dataclass(frozen=True)
class Phong(Material):
    """Normalised Blinn-Phong:

        bsdf = (1 - specular) base_color / pi + specular (n + 2) (n + 4) / (8 pi (2^(-n/2) + n)) (n.h)^n

    with the exponent n = shininess and h half-way between light and camera. The factor makes a highlight seen straight
    on reflect just `specular` of a white sky; from the side it is less. So never more light leaves than arrives,
    whatever the values, and light and camera can be exchanged.

    base_color: albedo of the base, linear RGB in 0..1.
    specular: colour of the highlight, linear RGB in 0..1.
    shininess: above 0; 10 is dull, 1000 nearly a mirror.
    normal: a normal map: vectors in the tangent frame (along u, up in the image, outwards); None for none.

    Each is uniform [C], per vertex [V, C] or a Texture, with C = 1 for shininess and else 3.
    Source: Blinn, Models of Light Reflection for Computer Synthesized Pictures (1977); the factor is the exact integral
    at normal incidence.
    """

    specular: SurfaceValue = quantity(COLOR, lambda: torch.full((3,), 0.1))
    shininess: SurfaceValue = quantity(NUMBER, lambda: torch.full((1,), 32.0))
    normal: SurfaceValue | None = quantity(NORMAL)

    def emitted(self, surface: ShadingPoints) -> None:
        """Nothing."""
        return None

    def evaluate(self, surface: ShadingPoints, to_light_w: Tensor) -> Tensor:
        """bsdf times the cosine between normal and light, zero from behind: [M, S, 3]."""
        normal_w = shading_normal_w(surface, self.normal)[:, None, :]
        half_w = torch.nn.functional.normalize(to_light_w + surface.to_camera_w[:, None, :], dim=-1)
        cos_light = (normal_w * to_light_w).sum(-1, keepdim=True).clamp_min(0)
        cos_half = (normal_w * half_w).sum(-1, keepdim=True).clamp_min(LEAST_COSINE)
        exponent = surface.value(self.shininess)[:, None, :]
        specular = surface.value(self.specular)[:, None, :]
        highlight = normalization(exponent) * (exponent * cos_half.log()).exp()
        base = surface.value(self.base_color)[:, None, :] / math.pi
        return (specular * highlight + (1 - specular) * base) * cos_light

    def albedo(self, surface: ShadingPoints) -> Tensor:
        """Of the base and the highlight together."""
        diffuse, _, weight = self._shares(surface, shading_normal_w(surface, self.normal))
        return diffuse + weight

    def lobes(self, surface: ShadingPoints) -> ReflectionLobes:
        """The base exactly; the highlight as a GGX lobe of alpha^2 = 2 / (n + 2), around the mirror's direction.

        That exponent and that alpha have the same curvature at their peaks.
        """
        normal_w = shading_normal_w(surface, self.normal)
        diffuse, roughness, weight = self._shares(surface, normal_w)
        cos_camera = (normal_w * surface.to_camera_w).sum(-1, keepdim=True)
        mirrored_w = 2 * cos_camera * normal_w - surface.to_camera_w
        return ReflectionLobes(normal_w, diffuse, (SpecularLobe(mirrored_w, roughness, weight),))

    def to_gltf(self) -> GltfSurface:
        """The nearest: a highlight as wide, and the reflection of a dielectric's boundary in place of `specular`."""
        return GltfSurface(
            self.base_color, roughness=map_tensors(self.shininess, equivalent_roughness), normal=self.normal
        )

    def _shares(self, surface: ShadingPoints, normal_w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the base reflects [M or 1, 3]; the highlight's equivalent roughness [M or 1, 1] and what it reflects."""
        cos_camera = (normal_w * surface.to_camera_w).sum(-1, keepdim=True).clamp_min(LEAST_COSINE)
        specular = surface.value(self.specular)
        # Defaults are float32, whatever the scene is in.
        roughness = equivalent_roughness(surface.value(self.shininess).to(normal_w.dtype))
        table = table_of(_albedo_table, roughness.dtype, roughness.device)
        reflected = look_up(table, roughness, cos_camera, surface.backend)
        return (1 - specular) * surface.value(self.base_color), roughness, specular * reflected


def normalization(exponent: Tensor) -> Tensor:
    """(n + 2) (n + 4) / (8 pi (2^(-n/2) + n)): one over the integral of (n.h)^n n.l over l, seen straight on."""
    return (exponent + 2) * (exponent + 4) / (8 * math.pi * ((-0.5 * math.log(2) * exponent).exp() + exponent))


def equivalent_roughness(exponent: Tensor) -> Tensor:
    """The roughness r = sqrt(alpha) of the GGX lobe with alpha^2 = 2 / (n + 2), in LEAST_ROUGHNESS..1."""
    return (2 / (exponent + 2)).pow(0.25).clamp_min(LEAST_ROUGHNESS)


@cache
def _albedo_table() -> Tensor:
    """[R, C, 1] float64: what a highlight reflects of a white sky, over equivalent roughness and n.v.

    Over half vectors drawn as (n.h)^n is; with them the integrand is normalization 2 pi / (n + 1) 4 n.l v.h.
    """

    def exponent_of(roughness: float) -> Tensor:
        return torch.tensor(2 / max(roughness, LEAST_ROUGHNESS) ** 4 - 2, dtype=torch.float64)

    def cos_half_of(roughness: float, uniform: Tensor) -> Tensor:
        return (1 - uniform) ** (1 / (exponent_of(roughness) + 1))

    def share_of(roughness: float, light: Tensor, camera: Tensor, half: Tensor, camera_half: Tensor) -> Tensor:
        exponent = exponent_of(roughness)
        return (normalization(exponent) * 2 * math.pi / (exponent + 1) * 4 * light * camera_half)[None]

    return integrate(cos_half_of, share_of)
