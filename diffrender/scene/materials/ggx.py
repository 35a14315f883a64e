"""GGX: the metallic-roughness material of glTF."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.ops.ggx import ggx
from diffrender.ops.ggx_lobes import GgxLobes, ggx_lobes
from diffrender.scene.gltf_surface import GltfSurface
from diffrender.scene.material import Material, ReflectionLobes, SpecularLobes, shading_normal_w
from diffrender.scene.materials.directional_albedo import diffuse_table
from diffrender.scene.materials.highlight_lobes import lobe_table, whole_highlight
from diffrender.scene.materials.tabulate_albedo import table_of
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
        lobes = self._lobes(surface, shading_normal_w(surface, self.normal), whole_highlight)
        return lobes.diffuse + lobes.weight[:, 0]

    def lobes(self, surface: ShadingPoints) -> ReflectionLobes:
        """Return its lobes: exact in a uniform environment, an approximation in others.

        The diffuse base is weighted by the cosine only; specular reflection is the sum of three rotationally symmetric
        lobes, each that of GGX at normal incidence (the split sum of Karis 2013 with three lobes, `lobe_table`).
        """
        normal_w = shading_normal_w(surface, self.normal)
        lobes = self._lobes(surface, normal_w, lobe_table)
        return ReflectionLobes(normal_w, lobes.diffuse, SpecularLobes(lobes.direction, lobes.roughness, lobes.weight))

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

    def _lobes(self, surface: ShadingPoints, normal_w: Tensor, table: Callable[[], Tensor]) -> GgxLobes:
        inputs = self._inputs(surface, normal_w.dtype)
        of_dtype = table_of(table, normal_w.dtype, normal_w.device)
        return ggx_lobes(normal_w, surface.to_camera_w, *inputs, of_dtype, backend=surface.backend)
