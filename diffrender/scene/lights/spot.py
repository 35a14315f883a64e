"""Light from one place into a cone: a torch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.checks import check_shape
from diffrender.scene.cameras import Cameras
from diffrender.scene.fields import ANGLE, DIRECTION, POSITION, RADIANCE, quantity
from diffrender.scene.light import LightSamples, PunctualLight
from diffrender.scene.light_frames import (
    check_frame,
    direction_to_world,
    directions_of_views,
    place_to_world,
    places_of_views,
)
from diffrender.scene.lights.point import towards
from diffrender.scene.shading_points import ShadingPoints
from diffrender.scene.shadow_cameras import Bounds, Shadow, cone_map

# Cosines of the two cones differ at least by this, so that a sharp cone's edge has a derivative.
NARROWEST_EDGE = 1e-3


@dataclass(frozen=True)
class Spot(PunctualLight):
    """Shines as a point light inside a cone, and fades out between an inner and an outer cone.

    position: [3] in its frame. direction: [3] the way the cone points; need not be unit.
    intensity: [3] linear RGB, W / sr, inside the inner cone.
    inner_deg, outer_deg: [] degrees between the axis and the cones, 0 <= inner < outer <= 90. At an angle a between
        them the factor is ((cos a - cos outer) / (cos inner - cos outer))^2, as in glTF's KHR_lights_punctual.
    frame: world, or camera (scene.frames).
    shadow: how it casts shadows, or None.
    """

    position: Tensor = quantity(POSITION, lambda: torch.tensor([0.0, 2.0, 0.0]))
    direction: Tensor = quantity(DIRECTION, lambda: torch.tensor([0.0, -1.0, 0.0]))
    intensity: Tensor = quantity(RADIANCE, lambda: torch.ones(3))
    inner_deg: Tensor = quantity(ANGLE, lambda: torch.tensor(20.0))
    outer_deg: Tensor = quantity(ANGLE, lambda: torch.tensor(30.0))
    frame: str = "world"
    shadow: Shadow | None = None

    def __post_init__(self) -> None:
        check_frame("Spot", self.frame)
        check_shape("Spot", "inner_deg", self.inner_deg, ())
        check_shape("Spot", "outer_deg", self.outer_deg, ())

    def sample(self, surface: ShadingPoints) -> LightSamples:
        """One sample: a point light's, times the factor of the cone."""
        to_light_w, squared = towards(surface, place_to_world(surface, self.frame, self.position))
        axis = torch.nn.functional.normalize(self.direction, dim=0)
        cosine = -(to_light_w * direction_to_world(surface, self.frame, axis)).sum(-1, keepdim=True)
        cos_inner, cos_outer = (torch.deg2rad(angle).cos() for angle in (self.inner_deg, self.outer_deg))
        # What a fit does to the angles may leave no edge between them.
        edge = (cos_inner - cos_outer).clamp_min(NARROWEST_EDGE)
        share = ((cosine - cos_outer) / edge).clamp(0, 1).square()
        return LightSamples(to_light_w[:, None, :], (self.intensity * share / squared)[:, None, :])

    def shadow_cameras(self, bounds: Bounds, cameras: Cameras) -> Cameras:
        """One map of the cone."""
        places_w = places_of_views(cameras, self.frame, self.position)
        directions_w = directions_of_views(cameras, self.frame, self.direction)
        return cone_map(self.shadow or Shadow(), bounds, places_w, directions_w, float(self.outer_deg))
