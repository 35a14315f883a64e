"""One directional light per view, for photometric stereo: a fixed camera, one object, changing light."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.checks import check_shape
from diffrender.scene.light import Light, LightSamples, shade_samples
from diffrender.scene.light_frames import check_frame
from diffrender.scene.material import Material
from diffrender.scene.quantity_kinds import DIRECTION, RADIANCE, quantity
from diffrender.scene.shading_points import ShadingPoints


@dataclass(frozen=True)
class PerViewDirectional(Light):
    """L directional lights, of which each view sees one: that of its camera's `number` (`Cameras`). Without shadows.

    Cameras without a `number`, which took none of the images, see the first.

    direction: [L, 3] the directions in which the lights travel, in their frame; need not be unit. Default: one,
        (0, 0, -1).
    radiance: [L, 3] linear RGB, at least 0, as of `Directional`; default 1.
    frame: "world" (default) or "camera": what the lights are fixed to (scene.light_frames).

    Raises ConfigError for an unknown frame, ShapeError for a wrong shape. In a scene file:

        lights: [{type: flashes, direction: light_directions.txt}]
    """

    direction: Tensor = quantity(DIRECTION, lambda: torch.tensor([[0.0, 0.0, -1.0]]))
    radiance: Tensor = quantity(RADIANCE, lambda: torch.ones(1, 3))
    frame: str = "world"

    def __post_init__(self) -> None:
        check_frame("PerViewDirectional", self.frame)
        check_shape("PerViewDirectional", "direction", self.direction, ("L", 3))
        check_shape("PerViewDirectional", "radiance", self.radiance, (len(self.direction), 3))

    def prepared(self) -> PerViewDirectional:
        """Return the light itself: there is nothing to precompute."""
        return self

    def shade(self, surface: ShadingPoints, material: Material) -> Tensor:
        """Return bsdf x cosine x radiance of its one sample."""
        return shade_samples(self.sample(surface), surface, material)

    def sample(self, surface: ShadingPoints) -> LightSamples:
        """Return one sample per point, that of its view."""
        number = surface.cameras.number
        index = surface.view.new_zeros(1) if number is None else number.index_select(0, surface.view)
        to_light = -torch.nn.functional.normalize(self.direction, dim=1).index_select(0, index)
        if self.frame == "camera":
            rotation = surface.cameras.cam_from_world[:, :3, :3].index_select(0, surface.view)
            to_light = (rotation * to_light[:, :, None]).sum(1)
        return LightSamples(to_light[:, None], self.radiance.index_select(0, index)[:, None])
