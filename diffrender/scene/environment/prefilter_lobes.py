"""Lobes for prefiltering environments: the clamped cosine, and a GGX highlight at normal incidence.

Seen along the normal (v = n), a highlight of roughness sqrt(alpha) weights the direction at angle t from the normal by
D(t / 2) V(cos t, 1) cos t (`ops.ggx.formulas`), since the half vector is at t / 2.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from diffrender.derivatives import on_plain_tensors
from diffrender.ops.ggx.formulas import LEAST_ROUGHNESS, distribution, visibility

# Rows (roughness) of the table of bands; number of angles in the quadrature of a row.
BAND_ROWS, BAND_ANGLES = 33, 20000


def highlight_kernel(cosine: Tensor, roughness: float) -> Tensor:
    """Evaluate a highlight's lobe at the cosine of the angle from its axis, up to a factor; zero from 90 degrees."""
    alpha = cosine.new_tensor(max(roughness, LEAST_ROUGHNESS) ** 2)
    sine_half_squared = ((1 - cosine) / 2).clamp(0, 1)
    above = cosine.clamp_min(0)
    return distribution(alpha, sine_half_squared) * visibility(alpha, above, torch.ones_like(above)) * above


def cosine_kernel(cosine: Tensor) -> Tensor:
    """Evaluate a diffuse surface's lobe, the clamped cosine, up to a factor."""
    return cosine.clamp_min(0)


def lobe_bands(roughness: Tensor) -> Tensor:
    """Return the [..., 4] factors of lobes of roughness [...] for spherical harmonics of orders 0 to 3."""
    table = _band_table(roughness.dtype, roughness.device)
    position = roughness.clamp(0, 1) * (BAND_ROWS - 1)
    row = position.detach().floor().clamp_max(BAND_ROWS - 2)
    first, second = (table[row.long() + step] for step in (0, 1))
    return first + (position - row)[..., None] * (second - first)


@cache
@on_plain_tensors()
def _band_table(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Compute [BAND_ROWS, 4]: integrals over the sphere of the normalized lobe times Legendre polynomials 0 to 3."""
    # Denser towards the axis, where lobes of low roughness are narrow.
    steps = (torch.arange(BAND_ANGLES, dtype=torch.float64, device="cpu") + 0.5) / BAND_ANGLES
    angle = math.pi / 2 * steps**2
    cosine = angle.cos()
    polynomials = torch.stack([cosine**0, cosine, (3 * cosine**2 - 1) / 2, (5 * cosine**3 - 3 * cosine) / 2])
    rows = []
    for row in range(BAND_ROWS):
        share = highlight_kernel(cosine, row / (BAND_ROWS - 1)) * angle.sin() * steps
        rows.append((polynomials * share).sum(1) / share.sum())
    return torch.stack(rows).to(device, dtype)
