"""Shade a diffuse surface under single lights."""

from __future__ import annotations

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.ops.differentiable import run_differentiable


def lambert(normal: Tensor, to_light: Tensor, base_color: Tensor, *, backend: str | None = None) -> Tensor:
    """Return BSDF times cosine [M, S, 3] of a diffuse surface: base_color / pi n.l, zero for light from behind.

    Differentiable in all three.

    normal: [M, 3] unit, at each of M points.
    to_light: [M or 1, S, 3] unit, towards S lights.
    base_color: [M or 1, 3] linear RGB.

    Raises ShapeError for shapes, dtypes or devices that do not agree.
    Source: Lambert, Photometria, 1760.
    """
    check_tensors("lambert", normal=(normal, "M 3"), to_light=(to_light, "1|M S 3"), base_color=(base_color, "1|M 3"))
    return run_differentiable("lambert", backend, normal, to_light, base_color)
