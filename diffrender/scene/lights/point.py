"""Point light: a bare bulb."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.scene.cameras import Cameras
from diffrender.scene.light import LightSamples, PunctualLight
from diffrender.scene.light_frames import check_frame, position_to_world, positions_of_views
from diffrender.scene.quantity_kinds import POSITION, RADIANCE, check_vectors, quantity
from diffrender.scene.shading_points import ShadingPoints
from diffrender.scene.shadow_cameras import Bounds, Shadow, cube_map

# Lower limit of squared distances in world units: a light on a surface stays finite, and its gradient in float32 too.
NEAREST_SQUARED = 1e-18


@dataclass(frozen=True)
class Point(PunctualLight):
    """A light that shines equally in all directions from one position and falls off with the squared distance.

    position: [3] in its frame, in world units; default (0, 2, 0).
    intensity: [3] linear RGB, at least 0, in W / sr; default 1.
    frame: "world" (default) or "camera": what the light is fixed to (scene.light_frames).
    shadow: how it casts shadows; None (default): it casts none.

    Raises ConfigError for an unknown frame, ShapeError for a wrong shape. In a scene file:

        lights: [{type: point, position: [1, 2, 1], intensity: [4, 4, 3.5]}]
    """

    position: Tensor = quantity(POSITION, lambda: torch.tensor([0.0, 2.0, 0.0]))
    intensity: Tensor = quantity(RADIANCE, lambda: torch.ones(3))
    frame: str = "world"
    shadow: Shadow | None = None

    def __post_init__(self) -> None:
        check_frame("Point", self.frame)
        check_vectors(self)

    def sample(self, surface: ShadingPoints) -> LightSamples:
        """Return one sample per point: its direction, and intensity / distance squared."""
        to_light_w, squared = towards(surface, position_to_world(surface, self.frame, self.position))
        return LightSamples(to_light_w[:, None, :], (self.intensity / squared)[:, None, :])

    def shadow_cameras(self, bounds: Bounds, cameras: Cameras) -> Cameras:
        """Return the cameras of a cube map."""
        return cube_map(self.shadow or Shadow(), bounds, positions_of_views(cameras, self.frame, self.position))


def towards(surface: ShadingPoints, position_w: Tensor) -> tuple[Tensor, Tensor]:
    """Return unit directions [M, 3] from the surface to positions [M or 1, 3], and squared distances [M, 1]."""
    offset = position_w - surface.position_w
    squared = (offset * offset).sum(-1, keepdim=True).clamp_min(NEAREST_SQUARED)
    return offset * squared.rsqrt(), squared
