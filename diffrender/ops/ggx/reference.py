"""glTF's metallic-roughness material in plain PyTorch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffrender.ops.ggx.formulas import (
    DIELECTRIC_F0,
    LEAST_COSINE,
    LEAST_ROUGHNESS,
    distribution,
    look_up,
    schlick,
    visibility,
)


def forward(
    normal: Tensor,
    to_camera: Tensor,
    to_light: Tensor,
    base_color: Tensor,
    metallic: Tensor,
    roughness: Tensor,
    diffuse_table: Tensor,
) -> Tensor:
    """See op.ggx."""
    normal, to_camera = normal[:, None, :], to_camera[:, None, :]
    base_color, metallic, roughness = base_color[:, None, :], metallic[:, None, :], roughness[:, None, :]
    half = torch.nn.functional.normalize(to_light + to_camera, dim=-1)
    cos_light = _dot(normal, to_light).clamp_min(0)
    cos_camera = _dot(normal, to_camera).clamp_min(LEAST_COSINE)
    across = torch.linalg.cross(normal.expand_as(half), half)

    roughness = roughness.clamp(LEAST_ROUGHNESS, 1)
    alpha = roughness * roughness
    f0 = DIELECTRIC_F0 + metallic * (base_color - DIELECTRIC_F0)
    fresnel = f0 + (1 - f0) * schlick(_dot(to_camera, half))
    specular = distribution(alpha, _dot(across, across)) * visibility(alpha, cos_light, cos_camera)
    left_over = look_up(diffuse_table, roughness, cos_light) * look_up(diffuse_table, roughness, cos_camera)
    diffuse = base_color * ((1 - metallic) * left_over / math.pi)
    return (fresnel * specular + diffuse) * cos_light


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1, keepdim=True)
