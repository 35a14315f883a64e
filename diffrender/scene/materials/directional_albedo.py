"""Tables of how much a surface of microfacets (ops.ggx.formulas) reflects in all.

The integral of F D V n.l over all l, what a surface reflects of surroundings that are the same everywhere, is linear in
f0: `f0 (A - B) + B`, with A that of F = 1 and B that of F = (1 - v.h)^5. It is tabulated over n.v and roughness (the
"environment BRDF" of Karis, Real Shading in Unreal Engine 4, 2013).
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
from diffrender.scene.materials.albedo_tables import COSINE_STEPS, integrate, look_up, table_of


def scale_and_bias(roughness: Tensor, cos_camera: Tensor, backend: str | None = None) -> tuple[Tensor, Tensor]:
    """(A - B, B), each [M or 1, 1], for roughness and n.v [M or 1, 1] in 0..1."""
    table = table_of(_albedo_table, roughness.dtype, roughness.device)
    scale, bias = look_up(table, roughness, cos_camera, backend).split(1, 1)
    return scale, bias


def diffuse_table(like: Tensor) -> Tensor:
    """[R, K, 1]: T(c), such that T(n.l) T(n.v) / pi reflects what a dielectric's shine leaves over: 1 - E(n.v) in all.

    E is what the shine of a dielectric reflects; T(c) = (1 - E(c)) / sqrt(1 - mean of E). Source: Kulla & Conty,
    Revisiting Physically Based Shading at Imageworks (2017), after Kelemen & Szirmay-Kalos (2001).
    """
    return table_of(_diffuse_table, like.dtype, like.device)


@cache
def _albedo_table() -> Tensor:
    """[R, C, 2] float64: (A - B, B).

    Over half vectors drawn as D n.h is; with them the integrand is 4 V n.l v.h / n.h.
    """

    def alpha_of(roughness: float) -> Tensor:
        return torch.tensor(max(roughness, LEAST_ROUGHNESS) ** 2, dtype=torch.float64)

    def cos_half_of(roughness: float, uniform: Tensor) -> Tensor:
        return ((1 - uniform) / (1 + (alpha_of(roughness) ** 2 - 1) * uniform)).sqrt()

    def share_of(roughness: float, light: Tensor, camera: Tensor, half: Tensor, camera_half: Tensor) -> Tensor:
        share = 4 * visibility(alpha_of(roughness), light, camera) * light * camera_half / half
        bias = share * schlick(camera_half)
        return torch.stack([share - bias, bias])

    return integrate(cos_half_of, share_of)


@cache
def _diffuse_table() -> Tensor:
    """[R, C, 1] float64: T."""
    scale, bias = _albedo_table().unbind(-1)
    left_over = 1 - (DIELECTRIC_F0 * scale + bias)
    # The mean over the hemisphere, weighted by the cosine c = s^2: 2 c dc = 4 s^3 ds.
    s = torch.linspace(0, 1, COSINE_STEPS, dtype=torch.float64)
    mean = torch.trapezoid(left_over * 4 * s**3, s, dim=1) / torch.trapezoid(4 * s**3, s)
    return (left_over / mean.sqrt()[:, None])[..., None]
