"""GGX: the metallic-roughness material of glTF."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.ops.ggx import ggx
from diffrender.ops.ggx.formulas import DIELECTRIC_F0, LEAST_COSINE, LEAST_ROUGHNESS
from diffrender.scene.gltf_surface import GltfSurface
from diffrender.scene.material import Material, ReflectionLobes, SpecularLobe, shading_normal_w
from diffrender.scene.materials.directional_albedo import diffuse_table, scale_and_bias
from diffrender.scene.materials.highlight_lobes import lobes_of_highlight
from diffrender.scene.quantity_kinds import NORMAL, RADIANCE, SHARE, SurfaceValue, quantity
from diffrender.scene.shading_points import ShadingPoints


@dataclass(frozen=True)
class Ggx(Material):
    """A dielectric over a diffuse base, a metal, or a mixture: glTF 2.0's metallic-roughness material.

        bsdf = D V F + (1 - metallic) base_color / pi T(n.l) T(n.v)       f0 = lerp(0.04, base_color, metallic)

    D, V, F are those of `ops.ggx.formulas` and of glTF's appendix B. There is one difference: glTF's sample code
    weights the diffuse part by 1 - F(v.h), which reflects up to 1.27 times the arriving light where a smooth white
    surface is seen at grazing angles; here the weight is T (`diffuse_table`), so that a white dielectric reflects
    exactly what it receives. At normal incidence, and for rough surfaces, the two differ by about 1 %. Interreflection
    between facets is not modelled, as in the sample code: a white metal of roughness 1 at normal incidence reflects a
    third of a uniform environment.

    base_color: linear RGB in 0..1, default 0.5: colour of the diffuse base, and of a metal's reflections.
    metallic: in 0..1, default 0: 0 for dielectrics, 1 for metals.
    roughness: in 0..1, default 0.5; alpha = roughness^2; values below 0.045 shade as 0.045.
    normal: normal map: vectors in the tangent frame (along u, up in the image, outwards); None (default) for none.
    emissive: emitted linear radiance, RGB, at least 0; None (default) for none.

    Each is uniform [C], per vertex [V, C] or a Texture; C is 1 for metallic and roughness, otherwise 3. Raises
    ShapeError for another shape. In a scene file:

        material: {type: ggx, base_color: {texture: own}, metallic: 0, roughness: {texture: 0.5, resolution: 512}}
    """

    metallic: SurfaceValue = quantity(SHARE, lambda: torch.zeros(1))
    roughness: SurfaceValue = quantity(SHARE, lambda: torch.full((1,), 0.5))
    normal: SurfaceValue | None = quantity(NORMAL)
    emissive: SurfaceValue | None = quantity(RADIANCE)

    def emitted(self, surface: ShadingPoints) -> Tensor | None:
        """Return `emissive` at each point, or None."""
        return None if self.emissive is None else surface.value(self.emissive)

    def evaluate(self, surface: ShadingPoints, to_light_w: Tensor) -> Tensor:
        """Return bsdf times n.l, zero for light from behind: [M, S, 3]."""
        normal_w = shading_normal_w(surface, self.normal)
        return ggx(
            normal_w,
            surface.to_camera_w,
            to_light_w.to(normal_w.dtype),
            *self._inputs(surface, normal_w.dtype),
            diffuse_table(normal_w),
            backend=surface.backend,
        )

    def albedo(self, surface: ShadingPoints) -> Tensor:
        """Return the directional albedo of base and specular reflection together."""
        shares = self._shares(surface, shading_normal_w(surface, self.normal))
        return shares.diffuse + shares.f0 * shares.scale + shares.bias

    def lobes(self, surface: ShadingPoints) -> ReflectionLobes:
        """Return its lobes: exact in a uniform environment, an approximation in others.

        The diffuse base is weighted by the cosine only; specular reflection is the sum of three rotationally symmetric
        lobes, each that of GGX at normal incidence (the split sum of Karis 2013 with three lobes, `lobe_table`).
        """
        normal_w = shading_normal_w(surface, self.normal)
        cos_camera, roughness, f0, scale, bias, diffuse = self._shares(surface, normal_w)
        highlight = lobes_of_highlight(roughness, cos_camera.clamp_min(LEAST_COSINE), surface.backend)
        # (1 - w) n + w m with m = 2 c n - v and n.m = c, divided by its length.
        w, c = highlight.towards_mirrored, cos_camera
        squared = (1 - w) ** 2 + w * w + 2 * w * (1 - w) * c
        inverse = squared.clamp_min(LEAST_COSINE).rsqrt()
        along_normal, along_camera = (1 - w + 2 * w * c) * inverse, w * inverse
        parts = (along_normal, along_camera, highlight.roughness, scale * highlight.scale, bias * highlight.bias)
        glossy = []
        for of_n, of_v, width, share, bias_share in zip(*(part.split(1, 1) for part in parts), strict=True):
            glossy.append(SpecularLobe(of_n * normal_w - of_v * surface.to_camera_w, width, f0 * share + bias_share))
        return ReflectionLobes(normal_w, diffuse, tuple(glossy))

    def to_gltf(self) -> GltfSurface:
        """Return the same material."""
        return GltfSurface(self.base_color, self.metallic, self.roughness, self.normal, self.emissive)

    def _inputs(self, surface: ShadingPoints, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Return base colour, metallic and roughness in `dtype`: defaults are float32 in any scene."""
        return (
            surface.value(self.base_color).to(dtype),
            surface.value(self.metallic).to(dtype),
            surface.value(self.roughness).to(dtype),
        )

    def _shares(self, surface: ShadingPoints, normal_w: Tensor) -> _Shares:
        base_color, metallic, roughness = self._inputs(surface, normal_w.dtype)
        roughness = roughness.clamp(LEAST_ROUGHNESS, 1)
        cos_camera = (normal_w * surface.to_camera_w).sum(-1, keepdim=True)
        scale, bias = scale_and_bias(roughness, cos_camera.clamp_min(LEAST_COSINE), surface.backend)
        f0 = DIELECTRIC_F0 + metallic * (base_color - DIELECTRIC_F0)
        left_over = 1 - (DIELECTRIC_F0 * scale + bias)
        return _Shares(cos_camera, roughness, f0, scale, bias, base_color * ((1 - metallic) * left_over))


class _Shares(NamedTuple):
    """The directional albedo, diffuse + f0 scale + bias, in its parts.

    cos_camera: [M, 1]. roughness: [M or 1, 1], clamped. f0: [M or 1, 3]. scale, bias: [M, 1]. diffuse: [M, 3].
    """

    cos_camera: Tensor
    roughness: Tensor
    f0: Tensor
    scale: Tensor
    bias: Tensor
    diffuse: Tensor
