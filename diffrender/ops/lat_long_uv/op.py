"""Find the places of directions in a lat-long map."""

from __future__ import annotations

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.errors import ShapeError
from diffrender.ops.differentiable import run_differentiable

# Directions closer to the axis through the poles than this get a fixed longitude, and have no gradient.
NEAREST_POLE = 1e-6


def lat_long_uv(directions: Tensor, padding: float = 0, *, backend: str | None = None) -> Tensor:
    """Return the uv [M, 2] of directions in a lat-long map (equirectangular panorama) seen from inside; differentiable.

        radiance = sample_texture(mip_pyramid(panorama), lat_long_uv(directions))

    directions: [M, 3] of about unit length. +y is the top row, +x the middle of the map, +z to the right of it.
        Within NEAREST_POLE of the axis through the poles they are a pole, as the zero vector is; a NaN stays one.
    padding: how much the map goes on beyond each pole, in heights of the map without it; at least 0.
    backend: None for the device's own (Numba on the CPU, Triton on CUDA), "numba", "triton" or "reference".

    u and v are in 0..1, u to the right and v down. Raises ShapeError for another shape or dtype, or negative padding.
    """
    check_tensors("lat_long_uv", directions=(directions, "M 3"))
    if not padding >= 0:
        raise ShapeError(f"lat_long_uv: padding must be at least 0, got {padding}")
    return run_differentiable("lat_long_uv", backend, directions, float(padding))
