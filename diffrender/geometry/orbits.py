"""Positions for cameras and lights around an object. World up is +y."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from diffrender.errors import ShapeError


def sphere_positions(
    n: int,
    radius: float = 1.0,
    center: Sequence[float] | Tensor = (0.0, 0.0, 0.0),
    min_elevation_deg: float = -90.0,
    max_elevation_deg: float = 90.0,
) -> Tensor:
    """Return positions [n, 3] spread evenly over a sphere, or over the band between two elevations, from low to high.

    radius: distance from `center`, in world units.
    Elevations are angles above the horizontal plane, in degrees, -90..90.
    A Fibonacci lattice: equal steps in height cover equal areas of the sphere (Archimedes), and rotating by the golden
    angle at each step keeps neighbours apart, for every n and without randomness.
    """
    _check_orbit("sphere_positions", n, radius)
    _check_elevation("sphere_positions", "min_elevation_deg", min_elevation_deg)
    _check_elevation("sphere_positions", "max_elevation_deg", max_elevation_deg)
    if min_elevation_deg > max_elevation_deg:
        raise ShapeError(
            f"sphere_positions: min_elevation_deg {min_elevation_deg} is above max_elevation_deg {max_elevation_deg};"
            " swap them"
        )
    low, high = math.sin(math.radians(min_elevation_deg)), math.sin(math.radians(max_elevation_deg))
    step = torch.arange(n, dtype=torch.float64)
    height = low + (high - low) * (step + 0.5) / n
    golden_angle = math.pi * (3 - math.sqrt(5))
    return _on_sphere(golden_angle * step, height, radius, center)


def grid_positions(
    n_azimuth: int, n_polar: int, radius: float = 1.0, center: Sequence[float] | Tensor = (0.0, 0.0, 0.0)
) -> Tensor:
    """Return positions [n_azimuth n_polar, 3] at equal steps of azimuth and polar angle around `center`, without poles.

    The polar angles, measured from +y, are 180 i / (n_polar + 1) degrees for i = 1..n_polar; azimuths start at +z.
    radius: distance from `center`, in world units.
    """
    _check_orbit("grid_positions", min(n_azimuth, n_polar), radius)
    azimuth = torch.arange(n_azimuth, dtype=torch.float64) * (2 * math.pi / n_azimuth)
    polar = torch.arange(1, n_polar + 1, dtype=torch.float64) * (math.pi / (n_polar + 1))
    return _on_sphere(azimuth.repeat(n_polar), polar.cos().repeat_interleave(n_azimuth), radius, center)


def _on_sphere(azimuth: Tensor, height: Tensor, radius: float, center: Sequence[float] | Tensor) -> Tensor:
    across = (1 - height * height).clamp_min(0).sqrt()
    directions = torch.stack([across * azimuth.sin(), height, across * azimuth.cos()], -1)
    return (radius * directions + torch.as_tensor(center, dtype=torch.float64)).float()


def _check_orbit(function: str, n: int, radius: float) -> None:
    if n < 1:
        raise ShapeError(f"{function}: n must be at least 1, got {n}")
    if not (math.isfinite(radius) and radius > 0):
        raise ShapeError(f"{function}: radius must be positive, got {radius}")


def _check_elevation(function: str, argument: str, value: float) -> None:
    if not -90 <= value <= 90:
        raise ShapeError(f"{function}: {argument} must be in -90..90 degrees, got {value}")
