"""Spherical harmonics light: a smooth environment of a few coefficients."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.checks import check_shape
from diffrender.errors import ShapeError
from diffrender.scene.environment.prefilter_lobes import lobe_bands
from diffrender.scene.environment.sphere_directions import even_directions, solid_angles
from diffrender.scene.light import EnvironmentLight, LightSamples
from diffrender.scene.light_frames import check_frame, directions_from_world, directions_to_world
from diffrender.scene.quantity_kinds import HARMONICS, quantity
from diffrender.scene.shading_points import ShadingPoints

# Numbers of coefficients up to orders 2 and 3.
SIZES = (9, 16)
# The clamped cosine over pi, per band (Ramamoorthi & Hanrahan 2001, eq. 8): 1, 2/3, 1/4, 0.
COSINE_BANDS = (1.0, 2 / 3, 1 / 4, 0.0)


def uniform_sky() -> Tensor:
    """Return the coefficients [9, 3] of radiance 1 from all directions."""
    return torch.cat([torch.full((1, 3), math.sqrt(4 * math.pi)), torch.zeros(8, 3)])


@dataclass(frozen=True)
class SphericalHarmonics(EnvironmentLight):
    """Radiance from all directions as a sum of real spherical harmonics, sum_k coefficients[k] Y_k(direction).

    coefficients: [9, 3] (order 2) or [16, 3] (order 3), linear RGB; k = l^2 + l + m, without the Condon-Shortley phase,
        z polar: Y_0 = 1 / sqrt(4 pi), Y_1..3 = sqrt(3 / 4 pi) (y, z, x), and so on. The default, sqrt(4 pi) first and
        otherwise 0, is radiance 1 from all directions. Others may make the radiance of some directions negative;
        nothing is clamped.
    frame: "world" (default) or "camera": what the light is fixed to (scene.light_frames).

    Diffuse surfaces see it exactly (the third order has no effect on them). A highlight sees it convolved with the
    highlight's lobe, which is rotationally symmetric and therefore scales each band. It casts no shadows.
    Source: Ramamoorthi & Hanrahan, An Efficient Representation for Irradiance Environment Maps (2001).

    Raises ConfigError for an unknown frame, ShapeError for another number of coefficients. In a scene file:

        lights: [{type: spherical_harmonics, order: 3}]
    """

    coefficients: Tensor = quantity(HARMONICS, uniform_sky)
    frame: str = "world"

    def __post_init__(self) -> None:
        check_frame("SphericalHarmonics", self.frame)
        check_shape("SphericalHarmonics", "coefficients", self.coefficients, ("9 or 16", 3))
        if len(self.coefficients) not in SIZES:
            raise ShapeError(
                "SphericalHarmonics: coefficients must have shape [9, 3] or [16, 3],"
                f" got {list(self.coefficients.shape)}"
            )

    def prepared(self) -> SphericalHarmonics:
        """Return the light itself: there is nothing to precompute."""
        return self

    def sample(self, surface: ShadingPoints) -> LightSamples:
        """Return the radiance from evenly distributed directions."""
        directions = even_directions(self.coefficients)
        radiance = harmonics(directions, len(self.coefficients)) @ self.coefficients
        return LightSamples(directions_to_world(surface, self.frame, directions), radiance * solid_angles(directions))

    def mean_radiance(self, surface: ShadingPoints, normal_w: Tensor) -> Tensor:
        """Evaluate the harmonics with each band scaled by the cosine's factor: [M, 3]."""
        bands = self.coefficients.new_tensor(COSINE_BANDS)
        return self._evaluate(directions_from_world(surface, self.frame, normal_w), bands)

    def lobe_radiance(self, surface: ShadingPoints, direction_w: Tensor, roughness: Tensor) -> Tensor:
        """Evaluate the harmonics with each band scaled by the lobes' factors: [M, L, 3]."""
        return self._evaluate(directions_from_world(surface, self.frame, direction_w), lobe_bands(roughness))

    def _evaluate(self, directions: Tensor, bands: Tensor) -> Tensor:
        band_of = [order for order in range(math.isqrt(len(self.coefficients))) for _ in range(2 * order + 1)]
        basis = harmonics(directions, len(self.coefficients)) * bands[..., band_of]
        return (basis[..., None] * self.coefficients).sum(-2)


def harmonics(directions: Tensor, size: int) -> Tensor:
    """Evaluate the first `size` (9 or 16) real spherical harmonics of unit directions [..., 3]: [..., size]."""
    x, y, z = directions.unbind(-1)
    basis = [torch.full_like(x, math.sqrt(1 / (4 * math.pi)))]
    first = math.sqrt(3 / (4 * math.pi))
    basis += [first * y, first * z, first * x]
    second = math.sqrt(15 / (4 * math.pi))
    basis += [
        second * x * y,
        second * y * z,
        math.sqrt(5 / (16 * math.pi)) * (3 * z * z - 1),
        second * x * z,
        second / 2 * (x * x - y * y),
    ]
    if size > len(basis):
        outer, middle = math.sqrt(35 / (32 * math.pi)), math.sqrt(21 / (32 * math.pi))
        inner = math.sqrt(105 / (4 * math.pi))
        basis += [
            outer * y * (3 * x * x - y * y),
            inner * x * y * z,
            middle * y * (5 * z * z - 1),
            math.sqrt(7 / (16 * math.pi)) * z * (5 * z * z - 3),
            middle * x * (5 * z * z - 1),
            inner / 2 * z * (x * x - y * y),
            outer * x * (x * x - 3 * y * y),
        ]
    return torch.stack(basis, -1)
