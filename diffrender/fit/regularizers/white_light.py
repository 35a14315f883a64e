"""White light: a penalty on the colour of lights."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diffrender.fit.deterministic_reduce import deterministic_mean
from diffrender.fit.objective import Regularizer
from diffrender.scene.environment.env_map import EnvMap
from diffrender.scene.environment.sphere_directions import map_directions
from diffrender.scene.quantity_kinds import kinds_of
from diffrender.scene.scene import Scene

# Lower bound of the mean radiance in the denominator.
DARKEST = 1e-6


@dataclass(frozen=True)
class WhiteLight(Regularizer):
    """Distance of lights from gray, since images alone cannot separate the colours of surface and light.

    The mean absolute difference of red, green and blue from their mean, over the mean radiance; for a map over all
    directions. 0 for a gray light, 4/3 for a purely red one. Summed over the lights.
    Source: Munkberg et al., Extracting Triangular 3D Models, Materials, and Lighting From Images (2022), section 4.
    """

    def __call__(self, scene: Scene) -> Tensor:
        """Return [], zero if all lights are gray."""
        colors = (
            getattr(light, name)
            for light in scene.lights.values()
            for name, kind in kinds_of(light).items()
            if kind.is_color
        )
        return sum(map(_chroma, colors), scene.background.new_zeros(()))


def _chroma(value: Tensor | EnvMap) -> Tensor:
    if not isinstance(value, EnvMap):
        return _distance(value.reshape(-1, 3))
    height, width = value.texels.shape[:2]
    _, solid_angle = map_directions(height, width, value.texels)
    # Weights with mean 1, so that plain means are means over directions.
    return _distance(value.texels.reshape(-1, 3) * (solid_angle / solid_angle.mean())[:, None])


def _distance(colors: Tensor) -> Tensor:
    gray = colors.mean(1, keepdim=True)
    # Spherical harmonics coefficients may be negative.
    strength = deterministic_mean(gray.abs()).detach().clamp_min(DARKEST)
    return deterministic_mean((colors - gray).abs()) / strength
