"""Directional light: parallel rays from far away, such as those of the sun."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.scene.cameras import Cameras
from diffrender.scene.light import LightSamples, PunctualLight
from diffrender.scene.light_frames import check_frame, direction_to_world, directions_of_views
from diffrender.scene.quantity_kinds import DIRECTION, RADIANCE, check_vectors, quantity
from diffrender.scene.shading_points import ShadingPoints
from diffrender.scene.shadow_cameras import Bounds, Shadow, parallel_map


@dataclass(frozen=True)
class Directional(PunctualLight):
    """A light of parallel rays.

    direction: [3] the direction in which the light travels, in its frame (as in glTF's KHR_lights_punctual); need not
        be unit; default (0, -1, 0).
    radiance: [3] linear RGB, at least 0, default 1: radiance times the solid angle of the source, which is the
        irradiance in W / m2 on a surface that faces it. A white diffuse surface facing it reflects radiance / pi.
    frame: "world" (default) or "camera": what the light is fixed to (scene.light_frames).
    shadow: how it casts shadows; None (default): it casts none.

    Raises ConfigError for an unknown frame, ShapeError for a wrong shape. In a scene file:

        lights: [{type: directional, direction: [-1, -1, -0.6], radiance: 2.2, shadow: true}]
    """

    direction: Tensor = quantity(DIRECTION, lambda: torch.tensor([0.0, -1.0, 0.0]))
    radiance: Tensor = quantity(RADIANCE, lambda: torch.ones(3))
    frame: str = "world"
    shadow: Shadow | None = None

    def __post_init__(self) -> None:
        check_frame("Directional", self.frame)
        check_vectors(self)

    def sample(self, surface: ShadingPoints) -> LightSamples:
        """Return one sample, the same at all points that one camera sees."""
        to_light = -torch.nn.functional.normalize(self.direction, dim=0)
        to_light_w = direction_to_world(surface, self.frame, to_light)
        return LightSamples(to_light_w[:, None, :], self.radiance[None, None, :])

    def shadow_cameras(self, bounds: Bounds, cameras: Cameras) -> Cameras:
        """Return the camera of one map of the whole scene."""
        return parallel_map(self.shadow or Shadow(), bounds, directions_of_views(cameras, self.frame, self.direction))
