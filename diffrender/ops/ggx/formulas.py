"""The parts of the microfacet model, in plain PyTorch: what the op's implementations and the materials share.

With n the normal, h the half vector, l and v the directions to light and camera, alpha = roughness^2 (glTF 2.0
specification, appendix B; Heitz, Understanding the Masking-Shadowing Function in Microfacet-Based BRDFs, 2014):

    D = alpha^2 / (pi ((n.h)^2 (alpha^2 - 1) + 1)^2)                         how many facets look along h
    V = 1 / (2 (n.v sqrt(alpha^2 + (1 - alpha^2) (n.l)^2) + n.l sqrt(alpha^2 + (1 - alpha^2) (n.v)^2)))
    F = f0 + (1 - f0) (1 - v.h)^5                                            Schlick's Fresnel reflectance
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Smaller roughness shades as this one: highlights of smooth surfaces under a point of light would be narrower than a
# pixel, and their heights (1 / alpha^2) leave the range in which float32 has precise differences.
LEAST_ROUGHNESS = 0.045
# Reflectance of a dielectric with index of refraction 1.5, seen straight on.
DIELECTRIC_F0 = 0.04
# Cosines between normal and camera are at least this: interpolated normals turn away a little before the surface does.
LEAST_COSINE = 1e-3


def distribution(alpha: Tensor, sine_squared: Tensor) -> Tensor:
    """Return D of alpha and the squared sine between n and h (given as |n x h|^2: 1 - (n.h)^2 loses its digits)."""
    alpha_squared = alpha * alpha
    spread = sine_squared + alpha_squared * (1 - sine_squared)
    return alpha_squared / (math.pi * spread * spread)


def visibility(alpha: Tensor, cos_light: Tensor, cos_camera: Tensor) -> Tensor:
    """Return V, the height-correlated Smith term over 4 n.l n.v; cosines at least 0, one of them above."""
    alpha_squared = alpha * alpha
    light = (alpha_squared + (1 - alpha_squared) * cos_light * cos_light).sqrt()
    camera = (alpha_squared + (1 - alpha_squared) * cos_camera * cos_camera).sqrt()
    return 0.5 / (cos_camera * light + cos_light * camera)


def schlick(cosine: Tensor) -> Tensor:
    """Return (1 - v.h)^5."""
    complement = (1 - cosine).clamp(0, 1)
    squared = complement * complement
    return squared * squared * complement


def look_up(table: Tensor, roughness: Tensor, cosine: Tensor) -> Tensor:
    """Return bilinear values [..., C] of a table [R, K, C] at [..., 1]; differentiable in both.

    Rows go from roughness 0 to 1, columns from cosine 0 to 1 in even steps of its square root. A NaN gives NaN.
    """
    rows, columns = table.shape[:2]
    y = roughness.clamp(0, 1) * (rows - 1)
    x = cosine.clamp(LEAST_COSINE, 1).sqrt() * (columns - 1)
    top = y.detach().floor().clamp_max(rows - 2).nan_to_num(0)
    left = x.detach().floor().clamp_max(columns - 2).nan_to_num(0)
    shape = torch.broadcast_shapes(y.shape, x.shape)
    fy, fx = (y - top).expand(shape), (x - left).expand(shape)
    first = (top * columns + left).long().expand(shape).reshape(-1)
    flat = table.reshape(rows * columns, -1)

    def entry(offset: int) -> Tensor:
        return flat.index_select(0, first + offset).reshape(*shape[:-1], table.shape[2])

    upper = entry(0) + fx * (entry(1) - entry(0))
    lower = entry(columns) + fx * (entry(columns + 1) - entry(columns))
    return upper + fy * (lower - upper)
