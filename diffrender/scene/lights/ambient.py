"""The same light from everywhere."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.scene.environment.directions import even_directions, solid_angles
from diffrender.scene.fields import RADIANCE, quantity
from diffrender.scene.light import EnvironmentLight, LightSamples
from diffrender.scene.material import Material
from diffrender.scene.shading_points import ShadingPoints


@dataclass(frozen=True)
class Ambient(EnvironmentLight):
    """Constant radiance from every direction, without shadows: a diffuse surface reflects base_color x radiance.

    radiance: [3] linear RGB, W / (m2 sr).
    """

    radiance: Tensor = quantity(RADIANCE, lambda: torch.ones(3))

    def prepared(self) -> Ambient:
        """Itself."""
        return self

    def sample(self, surface: ShadingPoints) -> LightSamples:
        """The radiance from directions all around."""
        to_light_w = even_directions(self.radiance)
        return LightSamples(to_light_w[None], self.radiance * solid_angles(to_light_w))

    def mean_radiance(self, surface: ShadingPoints, normal_w: Tensor) -> Tensor:
        """The radiance itself: [1, 3]."""
        return self.radiance[None]

    def lobe(self, surface: ShadingPoints, direction_w: Tensor, roughness: Tensor) -> Tensor:
        """The radiance itself: [1, 3]."""
        return self.radiance[None]

    def shade(self, surface: ShadingPoints, material: Material) -> Tensor:
        """The radiance times all that the material reflects; where its lobes are makes no difference."""
        return self.radiance * material.albedo(surface)
