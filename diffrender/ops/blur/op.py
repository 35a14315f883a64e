"""Blur images with a Gaussian."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffrender.checks import check_tensors
from diffrender.errors import ShapeError
from diffrender.ops.backend import implementation
from diffrender.threads import on_kernel_threads


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
    return _Blur.apply(images, (weights / weights.sum()).to(images.dtype), module)  # type: ignore[return-value]


class _Blur(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weights: Tensor, module: Any) -> Tensor:
        ctx.save_for_backward(weights)
        ctx.module = module
        return module.forward(images, weights)

    @staticmethod
    @once_differentiable
    @on_kernel_threads
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        return ctx.module.backward(grad, *ctx.saved_tensors), None, None
