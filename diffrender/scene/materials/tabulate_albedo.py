"""Directional albedo tables of highlights, over roughness and the cosine between normal and camera."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from diffrender.derivatives import on_plain_tensors
from diffrender.ops.ggx.formulas import LEAST_COSINE
from diffrender.ops.mip_pyramid import MipPyramid
from diffrender.ops.sample_texture import sample_texture

# Directions closer to the normal than this define no plane with it in which their highlight could be shifted.
MOST_COSINE = 0.9999
# Rows (roughness) and columns (square root of the cosine: the albedo changes fast at grazing angles).
ROUGHNESS_STEPS, COSINE_STEPS = 17, 33
# Half vectors per entry of a table: (polar angles, azimuths over half of the circle).
QUADRATURE = (96, 32)


@cache
def table_of(make: Callable[[], Tensor], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the float64 table that `make` computes in another dtype and on a device; each is computed once."""
    with on_plain_tensors():
        return make().to(device, dtype)


def look_up(table: Tensor, roughness: Tensor, cosine: Tensor, backend: str | None = None) -> Tensor:
    """Interpolate a table [R, K, C] at roughness and cosine [M or 1, 1]: [M or 1, C]; differentiable in both.

    As in `ops.ggx.formulas.look_up`, the first and last entries are at the borders.
    """
    rows, columns, channels = table.shape
    x = (cosine.clamp(LEAST_COSINE, 1).sqrt() * (columns - 1) + 0.5) / columns
    y = (roughness.clamp(0, 1) * (rows - 1) + 0.5) / rows
    uv = torch.cat(torch.broadcast_tensors(x, y), 1)
    texture = MipPyramid(table.reshape(rows * columns, channels), ((rows, columns),))
    return sample_texture(texture, uv, wrap="clamp", backend=backend)


def integrate(
    cos_half_of: Callable[[float, Tensor], Tensor], share_of: Callable[[float, Tensor, Tensor, Tensor, Tensor], Tensor]
) -> Tensor:
    """Integrate a table [R, K, channels] float64: means over half vectors h for each roughness and cosine n.v.

    cos_half_of: (roughness, uniform numbers in 0..1) -> n.h: importance sampling of h.
    share_of: (roughness, n.l, n.v, n.h, v.h) -> the integrand over the density of h, [channels, ...]; it counts as 0
        where l is below the surface.
    """
    n_polar, n_around = QUADRATURE
    uniform = (torch.arange(n_polar, dtype=torch.float64, device="cpu")[:, None] + 0.5) / n_polar
    angle = math.pi * (torch.arange(n_around, dtype=torch.float64, device="cpu")[None, :] + 0.5) / n_around
    steps = torch.arange(COSINE_STEPS, dtype=torch.float64, device="cpu") / (COSINE_STEPS - 1)
    cos_camera = (steps**2).clamp(LEAST_COSINE, MOST_COSINE)[:, None, None]
    rows = []
    for step in range(ROUGHNESS_STEPS):
        roughness = step / (ROUGHNESS_STEPS - 1)
        cos_half = cos_half_of(roughness, uniform)
        across = (1 - cos_half**2).clamp_min(0).sqrt() * angle.cos()
        camera_half = (1 - cos_camera**2).sqrt() * across + cos_camera * cos_half
        cos_light = 2 * camera_half * cos_half - cos_camera
        is_above = (cos_light > 0) & (camera_half > 0)
        share = share_of(roughness, cos_light.clamp_min(0), cos_camera, cos_half, camera_half.clamp_min(0))
        rows.append(share.where(is_above, 0).mean((-2, -1)).T)
    return torch.stack(rows)
