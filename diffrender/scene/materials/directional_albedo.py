"""Directional albedo of a microfacet surface (ops.ggx.formulas), tabulated over n.v and roughness.

The directional albedo, what the surface reflects of a uniform environment, is the integral of F D V n.l over all l. It
is linear in f0: `f0 (A - B) + B`, with A the integral for F = 1 and B that for F = (1 - v.h)^5 (the "environment BRDF"
of Karis, Real Shading in Unreal Engine 4, 2013).
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from diffrender.ops.ggx.formulas import (
    DIELECTRIC_F0,
    LEAST_ROUGHNESS,
    schlick,
    visibility,
)
from diffrender.scene.materials.tabulate_albedo import COSINE_STEPS, integrate, table_of


def diffuse_table(like: Tensor) -> Tensor:
    """Return the table T(c) [R, K, 1] of the diffuse base: T(n.l) T(n.v) / pi has directional albedo 1 - E(n.v).

    E is the directional albedo of a dielectric's specular reflection, and T(c) = (1 - E(c)) / sqrt(1 - mean of E), so
    that a white base and the reflection above it have albedo 1 together. Source: Kulla & Conty, Revisiting Physically
    Based Shading at Imageworks (2017), after Kelemen & Szirmay-Kalos (2001).
    """
    return table_of(_diffuse_table, like.dtype, like.device)


@cache
def albedo_table() -> Tensor:
    """Compute [R, K, 2] float64: (A - B, B).

    Half vectors are sampled in proportion to D n.h, which leaves the integrand 4 V n.l v.h / n.h.
    """

    def alpha_of(roughness: float) -> Tensor:
        return torch.tensor(max(roughness, LEAST_ROUGHNESS) ** 2, dtype=torch.float64, device="cpu")

    def cos_half_of(roughness: float, uniform: Tensor) -> Tensor:
        return ((1 - uniform) / (1 + (alpha_of(roughness) ** 2 - 1) * uniform)).sqrt()

    def share_of(roughness: float, light: Tensor, camera: Tensor, half: Tensor, camera_half: Tensor) -> Tensor:
        share = 4 * visibility(alpha_of(roughness), light, camera) * light * camera_half / half
        bias = share * schlick(camera_half)
        return torch.stack([share - bias, bias])

    return integrate(cos_half_of, share_of)


@cache
def _diffuse_table() -> Tensor:
    """Compute [R, K, 1] float64: T."""
    scale, bias = albedo_table().unbind(-1)
    left_over = 1 - (DIELECTRIC_F0 * scale + bias)
    # The mean over the hemisphere, weighted by the cosine c = s^2: 2 c dc = 4 s^3 ds.
    s = torch.linspace(0, 1, COSINE_STEPS, dtype=torch.float64, device="cpu")
    mean = torch.trapezoid(left_over * 4 * s**3, s, dim=1) / torch.trapezoid(4 * s**3, s)
    return (left_over / mean.sqrt()[:, None])[..., None]
