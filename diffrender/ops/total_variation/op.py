"""Sum the lengths of an image's differences between neighbours."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.errors import ShapeError
from diffrender.ops.differentiable import run_differentiable


def total_variation(
    texels: Tensor,
    small: float,
    covered: Tensor | None = None,
    weights: Tensor | None = None,
    *,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the sum [] of the lengths of differences between neighbours, and their number [], int64.

    The sum is differentiable in texels. A difference d between texels one above the other, or one beside the other,
    has the length sqrt(|d|^2 + small^2) - small.

        total, number = total_variation(image, 1e-3)
        mean = total / number.clamp_min(1)

    texels: [H, W, C] float32 or float64.
    small: above 0, as its square in the dtype of texels; shorter differences cost about quadratically, so that the
        derivative is continuous.
    covered: [H, W] bool; only neighbours that both are covered count. None: all.
    weights: [2, H, W] of the lengths, not of their number: of the differences from each texel to the one below and to
        the one on its right; those of the last row or column are not read. None: 1.
    backend: None for the device's own (Numba on the CPU, Triton on CUDA), "numba", "triton" or "reference".

    Raises ShapeError for another `small`, and for shapes, dtypes or devices that do not agree.
    Source: the vectorial total variation of Bresson & Chan (2008), smoothed at zero.
    """
    tensors = {"texels": (texels, "H W C")}
    if covered is not None:
        tensors["covered"] = (covered, "bool: H W")
    if weights is not None:
        tensors["weights"] = (weights, "2 H W")
    check_tensors("total_variation", **tensors)
    if not (math.isfinite(small) and small**2 >= torch.finfo(texels.dtype).tiny):
        raise ShapeError(
            f"total_variation: small must be a finite number above 0, whose square {texels.dtype} can hold, got {small}"
        )
    return run_differentiable("total_variation", backend, texels, small, covered, weights)
