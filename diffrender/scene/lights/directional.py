"""Light from very far away: the sun."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffrender.scene.light import Light, LightSamples
from diffrender.scene.surface import Surface


@dataclass(frozen=True)
class Directional(Light):
    """Parallel rays.

    direction: [3] the way the light travels, in the world (as glTF's KHR_lights_punctual); need not be unit.
    radiance: [3] linear RGB; radiance times the solid angle of the source, that is the irradiance in W / m2 on a
        surface that faces it. A white diffuse surface facing it reflects radiance / pi.
    """

    direction: Tensor = field(
        default_factory=lambda: torch.tensor([0.0, -1.0, 0.0]), metadata={"parametrization": "direction"}
    )
    radiance: Tensor = field(default_factory=lambda: torch.ones(3), metadata={"parametrization": "positive"})

    def sample(self, surface: Surface) -> LightSamples:
        """One sample, the same at every point."""
        to_light_w = -torch.nn.functional.normalize(self.direction, dim=0)
        return LightSamples(to_light_w[None, None, :], self.radiance[None, None, :])
