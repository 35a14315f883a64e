"""Cast shadows: what a light asks for, and the cameras that look from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.errors import ConfigError
from diffrender.geometry.rigid import look_at
from diffrender.scene.cameras import Cameras
from diffrender.scene.projection import Rectilinear
from diffrender.scene.projections.orthographic import Orthographic
from diffrender.scene.projections.perspective import Perspective

# Perspective maps begin at this part of the scene's radius from the light.
NEAREST = 1e-3
# Half of a spot's cone is seen up to this angle: a wider map would have no texels left for its middle.
WIDEST_DEG = 80.0
# The six ways that the maps of a point light look, and what is up in them.
SIDES = ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))
UPS = ((0, 1, 0), (0, 1, 0), (0, 0, 1), (0, 0, 1), (0, 1, 0), (0, 1, 0))


@dataclass(frozen=True)
class Shadow:
    """That a light casts shadows, and how.

    softness: half the width of the edges of shadows, as a part of the width that a shadow map shows: the scene for a
        directional light, a spot's cone, a quarter of the horizon for a point light. Wide edges are smooth targets;
        edges much narrower than a pixel of the images give noisy gradients.
    resolution: texels along each side of a map.
    """

    softness: float = 0.01
    resolution: int = 512

    def __post_init__(self) -> None:
        if not 0 < self.softness <= 0.25:
            raise ConfigError(f"Shadow: softness must be above 0 and at most 0.25, got {self.softness}")
        if not 16 <= self.resolution <= 8192:
            raise ConfigError(f"Shadow: resolution must be in 16..8192, got {self.resolution}")

    @property
    def radius(self) -> int:
        """Half the width of an edge in texels."""
        return max(1, round(self.softness * self.resolution))

    @property
    def inner(self) -> float:
        """Half the width of a map in texels, less what its edges' softness needs around it."""
        return self.resolution / 2 - self.radius - 1


class Bounds(NamedTuple):
    """A ball around all that is rendered. center: [3] in the world; radius: []."""

    center: Tensor
    radius: Tensor


def parallel_map(shadow: Shadow, bounds: Bounds, directions_w: Tensor) -> Cameras:
    """Maps of rays along `directions_w` [L, 3] that show the whole scene; differentiable in the directions."""
    eye = bounds.center - 2 * bounds.radius * torch.nn.functional.normalize(directions_w, dim=1)
    cam_from_world = _looking_along(eye, directions_w)
    return _cameras(shadow, cam_from_world, float(shadow.inner / bounds.radius), Orthographic(), 0.0)


def cone_map(shadow: Shadow, bounds: Bounds, places_w: Tensor, directions_w: Tensor, outer_deg: float) -> Cameras:
    """Maps of the cones of `outer_deg` degrees around `directions_w` [L, 3] from `places_w` [L, 3]."""
    cam_from_world = _looking_along(places_w, directions_w)
    focal = shadow.inner / math.tan(math.radians(min(outer_deg, WIDEST_DEG)))
    return _cameras(shadow, cam_from_world, focal, Perspective(), NEAREST * float(bounds.radius))


def cube_map(shadow: Shadow, bounds: Bounds, places_w: Tensor) -> Cameras:
    """Six maps all around each of `places_w` [L, 3], one place after the other: [6 L]."""
    forward, up = (places_w.new_tensor(rows).repeat(len(places_w), 1) for rows in (SIDES, UPS))
    eye = places_w.repeat_interleave(len(SIDES), 0)
    cam_from_world = look_at(eye, eye + forward, up)
    return _cameras(shadow, cam_from_world, shadow.inner, Perspective(), NEAREST * float(bounds.radius))


def _looking_along(eye: Tensor, directions: Tensor) -> Tensor:
    # Any frame around the direction will do: up is the axis that is least parallel to it.
    up = torch.nn.functional.one_hot(directions.detach().abs().argmin(1), 3).to(eye.dtype)
    return look_at(eye, eye + torch.nn.functional.normalize(directions, dim=1), up)


def _cameras(shadow: Shadow, cam_from_world: Tensor, focal: float, projection: Rectilinear, near: float) -> Cameras:
    size, n_maps = shadow.resolution, len(cam_from_world)
    focal_px = cam_from_world.new_full((n_maps, 2), focal)
    center_px = cam_from_world.new_full((n_maps, 2), size / 2)
    return Cameras(cam_from_world, focal_px, center_px, size, size, projection, near)
