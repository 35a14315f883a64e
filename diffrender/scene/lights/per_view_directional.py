"""A distant lamp for each view: photometric stereo, where one camera sees one thing under changing light."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.checks import check_shape
from diffrender.scene.fields import DIRECTION, RADIANCE, quantity
from diffrender.scene.light import Light, LightSamples, shade_samples
from diffrender.scene.light_frames import check_frame
from diffrender.scene.material import Material
from diffrender.scene.shading_points import ShadingPoints


@dataclass(frozen=True)
class PerViewDirectional(Light):
    """L lamps very far away, of which each view sees one: that of the camera's `number` (scene.cameras).

    A camera that is not numbered, one that took none of the pictures, sees the first. They cast no shadows.

    direction: [L, 3] the way the light travels, in its frame; need not be unit.
    radiance: [L, 3] linear RGB, as that of `Directional`.
    frame: world, or camera (scene.frames).
    """

    direction: Tensor = quantity(DIRECTION, lambda: torch.tensor([[0.0, 0.0, -1.0]]))
    radiance: Tensor = quantity(RADIANCE, lambda: torch.ones(1, 3))
    frame: str = "world"

    def __post_init__(self) -> None:
        check_frame("Flashes", self.frame)
        check_shape("Flashes", "direction", self.direction, ("L", 3))
        check_shape("Flashes", "radiance", self.radiance, (len(self.direction), 3))

    def prepared(self) -> PerViewDirectional:
        """Itself: there is nothing to work out."""
        return self

    def shade(self, surface: ShadingPoints, material: Material) -> Tensor:
        """The sum over its one sample of bsdf x cosine x radiance."""
        return shade_samples(self.sample(surface), surface, material)

    def sample(self, surface: ShadingPoints) -> LightSamples:
        """One sample, that of the view."""
        number = surface.cameras.number
        lamp = surface.view.new_zeros(1) if number is None else number.index_select(0, surface.view)
        to_light = -torch.nn.functional.normalize(self.direction, dim=1).index_select(0, lamp)
        if self.frame == "camera":
            rotation = surface.cameras.cam_from_world[:, :3, :3].index_select(0, surface.view)
            to_light = (rotation * to_light[:, :, None]).sum(1)
        return LightSamples(to_light[:, None], self.radiance.index_select(0, lamp)[:, None])
