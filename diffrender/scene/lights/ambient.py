"""Ambient light: the same radiance from all directions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.scene.environment.sphere_directions import even_directions, solid_angles
from diffrender.scene.light import EnvironmentLight, LightSamples
from diffrender.scene.material import Material
from diffrender.scene.quantity_kinds import RADIANCE, check_vectors, quantity
from diffrender.scene.shading_points import ShadingPoints


@dataclass(frozen=True)
class Ambient(EnvironmentLight):
    """Constant radiance from all directions, without shadows: a diffuse surface reflects base_color x radiance.

    radiance: [3] linear RGB, at least 0, in W / (m2 sr); default 1.

    Raises ShapeError for another shape. In a scene file:

        lights: [{type: ambient, radiance: 0.3}]
    """

    radiance: Tensor = quantity(RADIANCE, lambda: torch.ones(3))

    def __post_init__(self) -> None:
        check_vectors(self)

    def prepared(self) -> Ambient:
        """Return the light itself: there is nothing to precompute."""
        return self

    def sample(self, surface: ShadingPoints) -> LightSamples:
        """Return the radiance from evenly distributed directions."""
        to_light_w = even_directions(self.radiance)
        return LightSamples(to_light_w[None], self.radiance * solid_angles(to_light_w))

    def mean_radiance(self, surface: ShadingPoints, normal_w: Tensor) -> Tensor:
        """Return the radiance itself: [1, 3]."""
        return self.radiance[None]

    def lobe_radiance(self, surface: ShadingPoints, direction_w: Tensor, roughness: Tensor) -> Tensor:
        """Return the radiance itself: [1, 1, 3]."""
        return self.radiance[None, None]

    def shade(self, surface: ShadingPoints, material: Material) -> Tensor:
        """Return the radiance times the material's directional albedo; its lobes make no difference."""
        return self.radiance * material.albedo(surface)
