"""Phong: a diffuse base under a normalized Blinn-Phong highlight."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from diffrender.ops.ggx.formulas import LEAST_COSINE, LEAST_ROUGHNESS
from diffrender.scene.gltf_surface import GltfSurface
from diffrender.scene.material import Material, ReflectionLobes, SpecularLobes, shading_normal_w
from diffrender.scene.materials.tabulate_albedo import integrate, look_up, table_of
from diffrender.scene.quantity_kinds import COLOR, NORMAL, NUMBER, SurfaceValue, map_tensors, quantity
from diffrender.scene.shading_points import ShadingPoints


@dataclass(frozen=True)
class Phong(Material):
    """A diffuse base under a normalized Blinn-Phong highlight.

        bsdf = (1 - specular) base_color / pi + specular (s + 2) (s + 4) / (8 pi (2^(-s/2) + s)) (n.h)^s

    with the exponent s = shininess, the normal n and the half vector h of light and camera. The factor gives the
    highlight the directional albedo `specular` at normal incidence and less at grazing angles, so that the material
    conserves energy for all values; it is reciprocal.

    base_color: albedo of the base, linear RGB in 0..1, default 0.5.
    specular: colour of the highlight, linear RGB in 0..1, default 0.1.
    shininess: positive, default 32; 10 is dull, 1000 nearly a mirror.
    normal: normal map: vectors in the tangent frame (along u, up in the image, outwards); None (default) for none.

    Each is uniform [C], per vertex [V, C] or a Texture; C is 1 for shininess, otherwise 3. Raises ShapeError for
    another shape. Source: Blinn, Models of Light Reflection for Computer Synthesized Pictures (1977); the factor is the
    exact integral at normal incidence. In a scene file:

        material: {type: phong, base_color: {vertex: 0.5}, specular: 0.2, shininess: 80}
    """

    specular: SurfaceValue = quantity(COLOR, lambda: torch.full((3,), 0.1))
    shininess: SurfaceValue = quantity(NUMBER, lambda: torch.full((1,), 32.0))
    normal: SurfaceValue | None = quantity(NORMAL)

    def emitted(self, surface: ShadingPoints) -> None:
        """Return None: it emits nothing."""
        return None

    def evaluate(self, surface: ShadingPoints, to_light_w: Tensor) -> Tensor:
        """Return bsdf times n.l, zero for light from behind: [M, S, 3]."""
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
        """Return the directional albedo of base and highlight together."""
        diffuse, _, weight = self._shares(surface, shading_normal_w(surface, self.normal))
        return diffuse + weight

    def lobes(self, surface: ShadingPoints) -> ReflectionLobes:
        """Return the base, which is exact, and the highlight as a GGX lobe around the mirror direction.

        Its alpha^2 = 2 / (shininess + 2) gives both lobes the same curvature at their peaks.
        """
        normal_w = shading_normal_w(surface, self.normal)
        diffuse, roughness, weight = self._shares(surface, normal_w)
        cos_camera = (normal_w * surface.to_camera_w).sum(-1, keepdim=True)
        mirrored_w = 2 * cos_camera * normal_w - surface.to_camera_w
        return ReflectionLobes(normal_w, diffuse, SpecularLobes(mirrored_w[:, None], roughness, weight[:, None]))

    def to_gltf(self) -> GltfSurface:
        """Return the nearest: a highlight of the same width, with a dielectric's reflection instead of `specular`."""
        return GltfSurface(
            self.base_color, roughness=map_tensors(self.shininess, equivalent_roughness), normal=self.normal
        )

    def _shares(self, surface: ShadingPoints, normal_w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the base's albedo [M or 1, 3], the highlight's equivalent roughness [M or 1, 1] and albedo [M, 3]."""
        cos_camera = (normal_w * surface.to_camera_w).sum(-1, keepdim=True).clamp_min(LEAST_COSINE)
        specular = surface.value(self.specular)
        # Defaults are float32, whatever the scene's dtype is.
        roughness = equivalent_roughness(surface.value(self.shininess).to(normal_w.dtype))
        table = table_of(_albedo_table, roughness.dtype, roughness.device)
        reflected = look_up(table, roughness, cos_camera, surface.backend)
        return (1 - specular) * surface.value(self.base_color), roughness, specular * reflected


def normalization(exponent: Tensor) -> Tensor:
    """Return (s + 2) (s + 4) / (8 pi (2^(-s/2) + s)): 1 / integral of (n.h)^s n.l over l at normal incidence."""
    return (exponent + 2) * (exponent + 4) / (8 * math.pi * ((-0.5 * math.log(2) * exponent).exp() + exponent))


def equivalent_roughness(exponent: Tensor) -> Tensor:
    """Return the roughness sqrt(alpha) of the GGX lobe with alpha^2 = 2 / (exponent + 2), in LEAST_ROUGHNESS..1."""
    return (2 / (exponent + 2)).pow(0.25).clamp_min(LEAST_ROUGHNESS)


@cache
def _albedo_table() -> Tensor:
    """Compute [R, K, 1] float64: the highlight's directional albedo, over equivalent roughness and n.v.

    Half vectors are sampled in proportion to (n.h)^s, which leaves the integrand
    normalization 2 pi / (s + 1) 4 n.l v.h.
    """

    def exponent_of(roughness: float) -> Tensor:
        return torch.tensor(2 / max(roughness, LEAST_ROUGHNESS) ** 4 - 2, dtype=torch.float64, device="cpu")

    def cos_half_of(roughness: float, uniform: Tensor) -> Tensor:
        return (1 - uniform) ** (1 / (exponent_of(roughness) + 1))

    def share_of(roughness: float, light: Tensor, camera: Tensor, half: Tensor, camera_half: Tensor) -> Tensor:
        exponent = exponent_of(roughness)
        return (normalization(exponent) * 2 * math.pi / (exponent + 1) * 4 * light * camera_half)[None]

    return integrate(cos_half_of, share_of)
