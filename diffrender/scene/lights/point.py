"""Light from one place: a bare bulb."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.scene.cameras import Cameras
from diffrender.scene.fields import POSITION, RADIANCE, quantity
from diffrender.scene.light import LightSamples, PunctualLight
from diffrender.scene.light_frames import check_frame, place_to_world, places_of_views
from diffrender.scene.shading_points import ShadingPoints
from diffrender.scene.shadow_cameras import Bounds, Shadow, cube_map

# Squared distances below this (world units) count as this, so that a light on a surface stays finite.
NEAREST_SQUARED = 1e-8


@dataclass(frozen=True)
class Point(PunctualLight):
    """Shines equally in all directions from one place and falls off with the squared distance.

    position: [3] in its frame.
    intensity: [3] linear RGB, W / sr.
    frame: world, or camera (scene.frames).
    shadow: how it casts shadows, or None.
    """

    position: Tensor = quantity(POSITION, lambda: torch.tensor([0.0, 2.0, 0.0]))
    intensity: Tensor = quantity(RADIANCE, lambda: torch.ones(3))
    frame: str = "world"
    shadow: Shadow | None = None

    def __post_init__(self) -> None:
        check_frame("Point", self.frame)

    def sample(self, surface: ShadingPoints) -> LightSamples:
        """One sample: direction and intensity / distance squared differ from point to point."""
        to_light_w, squared = towards(surface, place_to_world(surface, self.frame, self.position))
        return LightSamples(to_light_w[:, None, :], (self.intensity / squared)[:, None, :])

    def shadow_cameras(self, bounds: Bounds, cameras: Cameras) -> Cameras:
        """Six maps all around."""
        return cube_map(self.shadow or Shadow(), bounds, places_of_views(cameras, self.frame, self.position))


def towards(surface: ShadingPoints, place_w: Tensor) -> tuple[Tensor, Tensor]:
    """Unit directions [M, 3] from the surface to places [M or 1, 3], and squared distances [M, 1]."""
    to_place = place_w - surface.position_w
    squared = (to_place * to_place).sum(-1, keepdim=True).clamp_min(NEAREST_SQUARED)
    return to_place * squared.rsqrt(), squared
