"""The same light from everywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffrender.scene.light import Light, LightSamples
from diffrender.scene.surface import Surface


@dataclass(frozen=True)
class Ambient(Light):
    """Constant radiance from every direction, without shadows: a diffuse surface reflects base_color x radiance.

    radiance: [3] linear RGB, W / (m2 sr).
    """

    radiance: Tensor = field(default_factory=lambda: torch.ones(3), metadata={"parametrization": "positive"})

    def sample(self, surface: Surface) -> LightSamples:
        """One sample along the normal that carries the whole hemisphere's cosine-weighted solid angle, pi."""
        return LightSamples(surface.normal_w[:, None, :], (math.pi * self.radiance)[None, None, :])
