"""Lobes of glTF's metallic-roughness material in plain PyTorch."""

from __future__ import annotations

from torch import Tensor

from diffrender.ops.ggx.formulas import DIELECTRIC_F0, LEAST_COSINE, LEAST_ROUGHNESS, look_up
from diffrender.ops.ggx_lobes.op import ALBEDO_ENTRIES, LOBE_ENTRIES


def forward(
    normal: Tensor, to_camera: Tensor, base_color: Tensor, metallic: Tensor, roughness: Tensor, table: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """See op.ggx_lobes."""
    cosine = (normal * to_camera).sum(-1, keepdim=True)
    entries = look_up(table, roughness.clamp(LEAST_ROUGHNESS, 1), cosine)
    scale, bias = entries[:, :1], entries[:, 1:ALBEDO_ENTRIES]
    w, width, of_scale, of_bias = entries[:, ALBEDO_ENTRIES:].unflatten(1, (LOBE_ENTRIES, -1)).unbind(1)
    f0 = DIELECTRIC_F0 + metallic * (base_color - DIELECTRIC_F0)
    diffuse = base_color * ((1 - metallic) * (1 - (DIELECTRIC_F0 * scale + bias)))
    # (1 - w) n + w m with m = 2 c n - v and n.m = c, divided by its length.
    squared = (1 - w) ** 2 + w * w + 2 * w * (1 - w) * cosine
    inverse = squared.clamp_min(LEAST_COSINE).rsqrt()
    of_n, of_v = (1 - w + 2 * w * cosine) * inverse, w * inverse
    direction = of_n[..., None] * normal[:, None] - of_v[..., None] * to_camera[:, None]
    weight = f0[:, None] * (scale * of_scale)[..., None] + (bias * of_bias)[..., None]
    return diffuse, direction, width, weight
