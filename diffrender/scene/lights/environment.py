"""A sky as an image: light from real surroundings."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.checks import check_shape
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.scene.environment.directions import map_directions
from diffrender.scene.environment.env_map import EnvMap, PrefilteredEnvMap
from diffrender.scene.fields import RADIANCE, ROTATION, quantity
from diffrender.scene.light import EnvironmentLight, LightSamples
from diffrender.scene.light_frames import check_frame, directions_from_world, directions_to_world
from diffrender.scene.shading_points import ShadingPoints


@dataclass(frozen=True)
class Environment(EnvironmentLight):
    """Radiance from every direction, as a lat-long map.

    radiance: the map; each of its texels may be learned.
    rotation: [3] rotation vector in radians that turns the map in its frame (axis times angle).
    frame: world, or camera (scene.frames).

    Diffuse surfaces and highlights look up copies of the map that are blurred by the cosine and by highlights' lobes
    (skies.sky_map): a fixed linear function of the texels, so their gradient is exact for the image that is shown. What
    the image itself leaves out is stated at `Ggx.lobes`; `sample`, with one direction a texel, is the truth.
    """

    radiance: EnvMap = quantity(RADIANCE, lambda: EnvMap(torch.ones(16, 32, 3)))
    rotation: Tensor = quantity(ROTATION, lambda: torch.zeros(3))
    frame: str = "world"

    def __post_init__(self) -> None:
        check_frame("Environment", self.frame)
        check_shape("Environment", "rotation", self.rotation, (3,))

    def prepared(self) -> EnvironmentLight:
        """With its blurred copies."""
        return _Blurred(self, self.radiance.prefiltered())

    def sample(self, surface: ShadingPoints) -> LightSamples:
        """One direction a texel: H W of them, for tests and small maps."""
        texels = self.radiance.texels
        directions, solid_angle = map_directions(texels.shape[0], texels.shape[1], texels)
        turned = (axis_angle_to_matrix(self.rotation) * directions[:, None, :]).sum(-1)
        radiance = texels.reshape(-1, 3) * solid_angle[:, None]
        return LightSamples(directions_to_world(surface, self.frame, turned), radiance[None])

    def mean_radiance(self, surface: ShadingPoints, normal_w: Tensor) -> Tensor:
        """A look-up in the map blurred by the cosine: [M, 3]."""
        return self.prepared().mean_radiance(surface, normal_w)

    def lobe(self, surface: ShadingPoints, direction_w: Tensor, roughness: Tensor) -> Tensor:
        """A look-up between the two maps blurred by the next lobes: [M, 3]."""
        return self.prepared().lobe(surface, direction_w, roughness)

    def map_directions_of(self, surface: ShadingPoints, directions_w: Tensor) -> Tensor:
        """[M, 3] directions of the world at the points of the surface, in the map."""
        in_frame = directions_from_world(surface, self.frame, directions_w)
        return in_frame @ axis_angle_to_matrix(self.rotation).to(in_frame.dtype)


@dataclass(frozen=True)
class _Blurred(EnvironmentLight):
    """An environment with its blurred copies."""

    environment: Environment
    copies: PrefilteredEnvMap

    def prepared(self) -> EnvironmentLight:
        return self

    def sample(self, surface: ShadingPoints) -> LightSamples:
        return self.environment.sample(surface)

    def mean_radiance(self, surface: ShadingPoints, normal_w: Tensor) -> Tensor:
        directions = self.environment.map_directions_of(surface, normal_w)
        return self.copies.mean_radiance(directions, surface.backend)

    def lobe(self, surface: ShadingPoints, direction_w: Tensor, roughness: Tensor) -> Tensor:
        directions = self.environment.map_directions_of(surface, direction_w)
        return self.copies.lobe(directions, roughness, surface.backend)
