"""Blur images with a Gaussian."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffrender.checks import check_tensors
from diffrender.errors import ShapeError
from diffrender.imaging.filters import gaussian_weights
from diffrender.ops.backend import implementation
from diffrender.threads import on_kernel_threads


def blur(images: Tensor, sigma_px: float | Tensor, *, backend: str | None = None) -> Tensor:
    """Blur images with a Gaussian of standard deviation `sigma_px`; differentiable in both.

    Outside of its border the image continues with its border pixels. The Gaussian is sampled at whole pixels, cut at
    four sigmas and normalized; sigma_px = 0 gives the images back. The same as imaging.filters.gaussian_blur, faster.

    images: [N, H, W, C] float32 or float64. sigma_px: a number, or a tensor [] that may be learned.
    Raises ShapeError for another shape or dtype, and for a sigma_px that is negative or not finite.
    """
    check_tensors("blur", images=(images, "N H W C"))
    value = float(sigma_px.detach()) if isinstance(sigma_px, Tensor) else sigma_px
    if not (math.isfinite(value) and value >= 0):
        raise ShapeError(f"blur: sigma_px must be at least 0, got {value}")
    if value == 0 or images.numel() == 0:
        return images
    name, module = implementation("blur", images.device, backend)
    if name == "reference":
        return module.forward(images, sigma_px)
    offset, weights = gaussian_weights(value)
    squares = offset.double().square()
    slope = weights * (squares - (weights * squares).sum()) / value**3
    learned = sigma_px if isinstance(sigma_px, Tensor) else None
    return _Blur.apply(images, learned, weights.to(images.dtype), slope, module)  # type: ignore[return-value]


class _Blur(torch.autograd.Function):
    """weights: of the Gaussian, in the images' dtype. slope: float64, their derivatives with respect to sigma."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, sigma_px: Tensor | None, weights: Tensor, slope: Tensor, module: ModuleType
    ) -> Tensor:
        ctx.save_for_backward(images if ctx.needs_input_grad[1] else None, sigma_px, weights, slope)
        ctx.module = module
        return module.forward(images, weights)

    @staticmethod
    @once_differentiable
    @on_kernel_threads
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        images, sigma_px, weights, slope = ctx.saved_tensors
        of_images = ctx.module.backward(grad, weights) if ctx.needs_input_grad[0] else None
        of_sigma = None
        if ctx.needs_input_grad[1]:
            of_sigma = _grad_of_sigma(grad, images, weights, slope, ctx.module).to(sigma_px)
        return of_images, of_sigma, None, None, None


def _grad_of_sigma(grad: Tensor, images: Tensor, weights: Tensor, slope: Tensor, module: ModuleType) -> Tensor:
    """Return the sum of `grad` times the derivative of the blurred images with respect to sigma, a tensor [].

    Blurred by w + h w' along both axes, minus the same with -h, is 2 h times the derivative of the product of both
    passes: exactly, whatever h is, since what is squared in h cancels.
    """
    length = float(slope.abs().sum())
    if length == 0:
        return grad.new_zeros(())
    step = (slope / length).to(weights.dtype)
    change = module.forward(images, weights + step) - module.forward(images, weights - step)
    return (grad * change).sum(dtype=torch.float64) * (length / 2)
