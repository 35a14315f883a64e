"""Round lobes that skies are blurred with: the clamped cosine, and a GGX highlight as it is seen straight on.

Seen straight on (v = n), a highlight of roughness sqrt(alpha) reflects from the direction at the angle t to the normal
D(t / 2) V(cos t, 1) cos t (`ops.ggx.formulas`), whose half vector is at t / 2.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from diffrender.ops.ggx.formulas import LEAST_ROUGHNESS, distribution, visibility

# Rows of the table of bands, over roughness; angles that a row is integrated over.
BAND_ROWS, BAND_ANGLES = 33, 20000


def highlight_kernel(cosine: Tensor, roughness: float) -> Tensor:
    """The lobe of a highlight at angles of this cosine from its middle, up to a factor; zero from 90 degrees on."""
    alpha = cosine.new_tensor(max(roughness, LEAST_ROUGHNESS) ** 2)
    sine_half_squared = ((1 - cosine) / 2).clamp(0, 1)
    above = cosine.clamp_min(0)
    return distribution(alpha, sine_half_squared) * visibility(alpha, above, torch.ones_like(above)) * above


def cosine_kernel(cosine: Tensor) -> Tensor:
    """The lobe of a diffuse surface, up to a factor."""
    return cosine.clamp_min(0)


def lobe_bands(roughness: Tensor) -> Tensor:
    """[M, 4]: what the lobe of roughness [M, 1] multiplies spherical harmonics of order 0 to 3 with."""
    table = _band_table(roughness.dtype, roughness.device)
    place = roughness[:, 0].clamp(0, 1) * (BAND_ROWS - 1)
    row = place.detach().floor().clamp_max(BAND_ROWS - 2)
    first, second = (table.index_select(0, row.long() + step) for step in (0, 1))
    return first + (place - row)[:, None] * (second - first)


@cache
def _band_table(dtype: torch.dtype, device: torch.device) -> Tensor:
    """[BAND_ROWS, 4]: 2 pi times the integral of the lobe, its own integral being 1, times a Legendre polynomial."""
    # Denser towards the middle, where smooth lobes are narrow.
    steps = (torch.arange(BAND_ANGLES, dtype=torch.float64) + 0.5) / BAND_ANGLES
    angle = math.pi / 2 * steps**2
    cosine = angle.cos()
    polynomials = torch.stack([cosine**0, cosine, (3 * cosine**2 - 1) / 2, (5 * cosine**3 - 3 * cosine) / 2])
    rows = []
    for row in range(BAND_ROWS):
        share = highlight_kernel(cosine, row / (BAND_ROWS - 1)) * angle.sin() * steps
        rows.append((polynomials * share).sum(1) / share.sum())
    return torch.stack(rows).to(device, dtype)
