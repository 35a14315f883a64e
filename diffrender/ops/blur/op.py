"""Blur images with a Gaussian."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.errors import ShapeError
from diffrender.ops.backend import implementation
from diffrender.ops.differentiable import run_linear


def blur(images: Tensor, sigma_px: float, *, backend: str | None = None) -> Tensor:
    """Blur images with a Gaussian of standard deviation `sigma_px`; differentiable in images.

    Outside of its border the image continues with its border pixels. The Gaussian is sampled at whole pixels, cut at
    four sigmas and normalized; sigma_px = 0 gives the images back. The same as imaging.filters.gaussian_blur, faster.

    images: [N, H, W, C] float32 or float64.
    Raises ShapeError for another shape or dtype, and for a sigma_px that is negative or not finite.
    """
    check_tensors("blur", images=(images, "N H W C"))
    if not (math.isfinite(sigma_px) and sigma_px >= 0):
        raise ShapeError(f"blur: sigma_px must be at least 0, got {sigma_px}")
    if sigma_px == 0 or images.numel() == 0:
        return images
    name, module = implementation("blur", images.device, backend)
    if name == "reference":
        return module.forward(images, sigma_px)
    reach = math.ceil(4 * sigma_px)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64, device="cpu") / sigma_px) ** 2)
    weights = (weights / weights.sum()).to(images.dtype)
    return run_linear(partial(module.forward, weights=weights), partial(module.backward, weights=weights), images)
