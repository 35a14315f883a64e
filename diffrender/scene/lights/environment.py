"""Environment light: radiance from all directions, given by a lat-long map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.checks import check_shape, check_type
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.scene.environment.env_map import EnvMap, PrefilteredEnvMap
from diffrender.scene.environment.sphere_directions import map_directions
from diffrender.scene.light import EnvironmentLight, LightSamples
from diffrender.scene.light_frames import check_frame, directions_from_world, directions_to_world
from diffrender.scene.quantity_kinds import RADIANCE, ROTATION, quantity
from diffrender.scene.shading_points import ShadingPoints


@dataclass(frozen=True)
class Environment(EnvironmentLight):
    """Radiance from all directions as a lat-long map, without shadows.

    radiance: the EnvMap, [H, 2 H, 3] texels, each of which can be learned; default: radiance 1 in 16 x 32 texels.
    rotation: [3] rotation vector (axis times angle in radians) that rotates the map in its frame; default 0.
    frame: "world" (default) or "camera": what the light is fixed to (scene.light_frames).

    Diffuse surfaces and highlights look up copies of the map prefiltered by the cosine and by highlights' lobes
    (`PrefilteredEnvMap`): a fixed linear function of the texels, so that gradients are exact for the rendered image.
    `Ggx.lobes` states what the image approximates; `sample`, with one sample per texel, is the reference.

    Raises ConfigError for an unknown frame, ShapeError for a wrong shape. In a scene file:

        lights: [{type: environment, radiance: sky.hdr, resolution: 64, rotation: {axis: [0, 1, 0], degrees: 90}}]
    """

    radiance: EnvMap = quantity(RADIANCE, lambda: EnvMap(torch.ones(16, 32, 3)))
    rotation: Tensor = quantity(ROTATION, lambda: torch.zeros(3))
    frame: str = "world"

    def __post_init__(self) -> None:
        check_frame("Environment", self.frame)
        check_type("Environment", "radiance", self.radiance, EnvMap)
        check_shape("Environment", "rotation", self.rotation, (3,))

    def prepared(self) -> EnvironmentLight:
        """Return the light with its prefiltered copies and its rotation as a matrix."""
        return _Prefiltered(self, self.radiance.prefiltered(), axis_angle_to_matrix(self.rotation))

    def sample(self, surface: ShadingPoints) -> LightSamples:
        """Return one sample per texel, 2 H^2 in all, for tests and small maps."""
        texels = self.radiance.texels
        directions, solid_angle = map_directions(texels.shape[0], texels.shape[1], texels)
        rotated = (axis_angle_to_matrix(self.rotation) * directions[:, None, :]).sum(-1)
        radiance = texels.reshape(-1, 3) * solid_angle[:, None]
        return LightSamples(directions_to_world(surface, self.frame, rotated), radiance[None])

    def mean_radiance(self, surface: ShadingPoints, normal_w: Tensor) -> Tensor:
        """Look up the map prefiltered by the cosine: [M, 3]."""
        return self.prepared().mean_radiance(surface, normal_w)

    def lobe_radiance(self, surface: ShadingPoints, direction_w: Tensor, roughness: Tensor) -> Tensor:
        """Look up, and interpolate between, the maps prefiltered by the two nearest lobes: [M, L, 3]."""
        return self.prepared().lobe_radiance(surface, direction_w, roughness)


@dataclass(frozen=True)
class _Prefiltered(EnvironmentLight):
    """An environment with its prefiltered copies and its rotation [3, 3], from the map to the frame."""

    environment: Environment
    copies: PrefilteredEnvMap
    frame_from_map: Tensor

    def prepared(self) -> EnvironmentLight:
        return self

    def sample(self, surface: ShadingPoints) -> LightSamples:
        return self.environment.sample(surface)

    def mean_radiance(self, surface: ShadingPoints, normal_w: Tensor) -> Tensor:
        directions = self._map_directions_of(surface, normal_w)
        return self.copies.mean_radiance(directions, surface.backend)

    def lobe_radiance(self, surface: ShadingPoints, direction_w: Tensor, roughness: Tensor) -> Tensor:
        directions = self._map_directions_of(surface, direction_w)
        widths = roughness.expand(directions.shape[:2])
        found = self.copies.lobe(directions.flatten(0, 1), widths.reshape(-1, 1), surface.backend)
        return found.unflatten(0, directions.shape[:2])

    def _map_directions_of(self, surface: ShadingPoints, directions_w: Tensor) -> Tensor:
        """Return world directions [M, ..., 3] at the points of the surface in the frame of the map: [M, ..., 3]."""
        in_frame = directions_from_world(surface, self.environment.frame, directions_w)
        return in_frame @ self.frame_from_map.to(in_frame.dtype)
