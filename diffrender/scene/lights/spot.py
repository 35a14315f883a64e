"""Spot light: a point light confined to a cone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffrender.derivatives import constant
from diffrender.scene.cameras import Cameras
from diffrender.scene.light import LightSamples, PunctualLight
from diffrender.scene.light_frames import (
    check_frame,
    direction_to_world,
    directions_of_views,
    position_to_world,
    positions_of_views,
)
from diffrender.scene.lights.point import towards
from diffrender.scene.quantity_kinds import ANGLE, DIRECTION, POSITION, RADIANCE, check_vectors, quantity
from diffrender.scene.shading_points import ShadingPoints
from diffrender.scene.shadow_cameras import Bounds, Shadow, cone_map

# Least difference of the cosines of the two cones: the edge of a sharp cone has a finite derivative.
NARROWEST_EDGE = 1e-3
# Of KHR_lights_punctual, in radians: the outer cone if omitted, and what must be between the two cones at least: glTF
# does not allow equal ones.
GLTF_OUTER_CONE, GLTF_LEAST_EDGE = math.pi / 4, 1e-4


@dataclass(frozen=True)
class Spot(PunctualLight):
    """A point light inside a cone, which fades out between an inner and an outer cone.

    position: [3] in its frame, in world units; default (0, 2, 0).
    direction: [3] the axis of the cone, away from the light, in its frame; need not be unit; default (0, -1, 0).
    intensity: [3] linear RGB, at least 0, in W / sr, inside the inner cone; default 1.
    inner_deg, outer_deg: [] degrees between the axis and the cones, 0 <= inner < outer <= 90; default 20 and 30. At an
        angle a between them the factor is ((cos a - cos outer) / (cos inner - cos outer))^2, as in glTF's
        KHR_lights_punctual.
    frame: "world" (default) or "camera": what the light is fixed to (scene.light_frames).
    shadow: how it casts shadows; None (default): it casts none.

    Raises ConfigError for an unknown frame, ShapeError for a wrong shape. In a scene file:

        lights: [{type: spot, position: [0, 3, 0], direction: [0, -1, 0], intensity: 8, inner_deg: 15, outer_deg: 25}]
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
        check_vectors(self)

    def sample(self, surface: ShadingPoints) -> LightSamples:
        """Return a point light's sample times the factor of the cone."""
        to_light_w, squared = towards(surface, position_to_world(surface, self.frame, self.position))
        axis = torch.nn.functional.normalize(self.direction, dim=0)
        cosine = -(to_light_w * direction_to_world(surface, self.frame, axis)).sum(-1, keepdim=True)
        cos_inner, cos_outer = (torch.deg2rad(angle).cos() for angle in (self.inner_deg, self.outer_deg))
        # In a fit the angles may meet.
        edge = (cos_inner - cos_outer).clamp_min(NARROWEST_EDGE)
        share = ((cosine - cos_outer) / edge).clamp(0, 1).square()
        return LightSamples(to_light_w[:, None, :], (self.intensity * share / squared)[:, None, :])

    def shadow_cameras(self, bounds: Bounds, cameras: Cameras) -> Cameras:
        """Return the camera of one map of the cone."""
        positions_w = positions_of_views(cameras, self.frame, self.position)
        directions_w = directions_of_views(cameras, self.frame, self.direction)
        return cone_map(self.shadow or Shadow(), bounds, positions_w, directions_w, float(constant(self.outer_deg)))

    def gltf_entries(self) -> dict[str, Any]:
        """Return the two cones in radians; the inner must be narrower than the outer, and that at most a hemisphere."""
        outer = min(math.radians(float(self.outer_deg)), math.pi / 2)
        inner = min(math.radians(float(self.inner_deg)), outer - GLTF_LEAST_EDGE)
        return {"spot": {"innerConeAngle": max(inner, 0.0), "outerConeAngle": outer}}

    @classmethod
    def fields_of_gltf(cls, entry: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the angles of the two cones."""
        cones = entry.get("spot", {})
        inner, outer = cones.get("innerConeAngle", 0.0), cones.get("outerConeAngle", GLTF_OUTER_CONE)
        return {"inner_deg": torch.tensor(math.degrees(inner)), "outer_deg": torch.tensor(math.degrees(outer))}
