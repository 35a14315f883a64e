"""Shadow maps: their options, and the cameras at a light that render them."""

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

# Near depth of perspective maps, as a fraction of the scene's radius.
NEAREST = 1e-3
# Largest half angle of a spot's map: a wider one would have no texels left for its middle.
WIDEST_DEG = 80.0
# Viewing and up directions of the six maps of a point light.
SIDES = ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))
UPS = ((0, 1, 0), (0, 1, 0), (0, 0, 1), (0, 0, 1), (0, 1, 0), (0, 1, 0))


@dataclass(frozen=True)
class Shadow:
    """How a light casts shadows.

    softness: half the width of a shadow's edge as a fraction of the width that a shadow map covers (the scene for a
        directional light, the cone of a spot, a quarter of the horizon for a point light), above 0 and at most 0.25;
        default 0.01. Wide edges give smooth gradients; edges much narrower than a pixel of the image give noisy ones.
    resolution: texels along each side of a map, in 16..8192; default 512.

    Raises ConfigError for a value out of its range. In a scene file:

        lights: [{type: point, shadow: {softness: 0.02, resolution: 1024}}]
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
        """Half the width of a shadow's edge in texels."""
        return max(1, round(self.softness * self.resolution))

    @property
    def inner(self) -> float:
        """Half the width of a map in texels, without the margin that soft edges need."""
        return self.resolution / 2 - self.radius - 1


class Bounds(NamedTuple):
    """Bounding sphere of the scene. center: [3] in the world; radius: [] in world units."""

    center: Tensor
    radius: Tensor


def parallel_map(shadow: Shadow, bounds: Bounds, directions_w: Tensor) -> Cameras:
    """Return the L cameras of maps of the whole scene by rays along `directions_w` [L, 3]; differentiable in them."""
    eye = bounds.center - 2 * bounds.radius * torch.nn.functional.normalize(directions_w, dim=1)
    cam_from_world = _look_along(eye, directions_w)
    return _cameras(shadow, cam_from_world, float(shadow.inner / bounds.radius), Orthographic(), 0.0)


def cone_map(shadow: Shadow, bounds: Bounds, positions_w: Tensor, directions_w: Tensor, outer_deg: float) -> Cameras:
    """Return the L cameras of maps of the cones of `outer_deg` around `directions_w` [L, 3] at `positions_w` [L, 3]."""
    cam_from_world = _look_along(positions_w, directions_w)
    focal = shadow.inner / math.tan(math.radians(min(outer_deg, WIDEST_DEG)))
    return _cameras(shadow, cam_from_world, focal, Perspective(), NEAREST * float(bounds.radius))


def cube_map(shadow: Shadow, bounds: Bounds, positions_w: Tensor) -> Cameras:
    """Return the 6 L cameras of the cube maps at `positions_w` [L, 3], one position after the other."""
    forward, up = (positions_w.new_tensor(rows).repeat(len(positions_w), 1) for rows in (SIDES, UPS))
    eye = positions_w.repeat_interleave(len(SIDES), 0)
    cam_from_world = look_at(eye, eye + forward, up)
    return _cameras(shadow, cam_from_world, shadow.inner, Perspective(), NEAREST * float(bounds.radius))


def _look_along(eye: Tensor, directions: Tensor) -> Tensor:
    # Any roll will do: up is the axis that is least parallel to the direction.
    up = torch.nn.functional.one_hot(directions.detach().abs().argmin(1), 3).to(eye.dtype)
    return look_at(eye, eye + torch.nn.functional.normalize(directions, dim=1), up)


def _cameras(shadow: Shadow, cam_from_world: Tensor, focal: float, projection: Rectilinear, near: float) -> Cameras:
    size, n_maps = shadow.resolution, len(cam_from_world)
    focal_px = cam_from_world.new_full((n_maps, 2), focal)
    center_px = cam_from_world.new_full((n_maps, 2), size / 2)
    return Cameras(cam_from_world, focal_px, center_px, size, size, projection, near)
