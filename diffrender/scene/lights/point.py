"""Light from one place: a bare bulb."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffrender.scene.light import Light, LightSamples
from diffrender.scene.surface import Surface

# Squared distances below this (world units) count as this, so that a light on a surface stays finite.
NEAREST_SQUARED = 1e-8


@dataclass(frozen=True)
class Point(Light):
    """Shines equally in all directions from one place and falls off with the squared distance.

    position: [3] in the world.
    intensity: [3] linear RGB, W / sr.
    """

    position: Tensor = field(
        default_factory=lambda: torch.tensor([0.0, 2.0, 0.0]), metadata={"parametrization": "identity"}
    )
    intensity: Tensor = field(default_factory=lambda: torch.ones(3), metadata={"parametrization": "positive"})

    def sample(self, surface: Surface) -> LightSamples:
        """One sample: direction and intensity / distance squared differ from point to point."""
        to_light = self.position - surface.position_w
        squared = (to_light * to_light).sum(-1, keepdim=True).clamp_min(NEAREST_SQUARED)
        return LightSamples((to_light * squared.rsqrt())[:, None, :], (self.intensity / squared)[:, None, :])
