"""Blur images with a Gaussian."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.derivatives import constant, has_derivative
from diffrender.errors import ShapeError
from diffrender.imaging.filters import gaussian_weights
from diffrender.ops.backend import implementation
from diffrender.ops.differentiable import run_linear


def blur(images: Tensor, sigma_px: float | Tensor, *, backend: str | None = None) -> Tensor:
    """Blur images with a Gaussian of standard deviation `sigma_px`; differentiable in both, in sigma_px once.

    Outside of its border the image continues with its border pixels. The Gaussian is sampled at whole pixels, cut at
    four sigmas and normalized; sigma_px = 0 gives the images back. The same as imaging.filters.gaussian_blur, faster.

    images: [N, H, W, C] float32 or float64. sigma_px: a number, or a tensor [] that may be learned.
    Raises ShapeError for another shape or dtype, and for a sigma_px that is negative or not finite.
    """
    known, change = blur_parts(images, sigma_px, backend=backend)
    return known if change is None else known + change


def blur_parts(images: Tensor, sigma_px: float | Tensor, *, backend: str | None = None) -> tuple[Tensor, Tensor | None]:
    """Return two images whose sum is `blur(images, sigma_px)`: without derivative by sigma_px, and zeros that have it.

    The second is None where there is no such derivative. Arguments and errors are those of `blur`.
    """
    check_tensors("blur", images=(images, "N H W C"))
    value = float(constant(sigma_px)) if isinstance(sigma_px, Tensor) else sigma_px
    if not (math.isfinite(value) and value >= 0):
        raise ShapeError(f"blur: sigma_px must be at least 0, got {value}")
    if value == 0 or images.numel() == 0:
        return images, None
    is_learned = isinstance(sigma_px, Tensor) and has_derivative(sigma_px)
    name, module = implementation("blur", images.device, backend)
    if name == "reference":
        known = module.forward(images, value)
        return known, module.forward(images, sigma_px) - known if is_learned else None
    offset, weights = gaussian_weights(value)
    squares = offset.double().square()
    slope = weights * (squares - (weights * squares).sum()) / value**3
    weights = weights.to(images.dtype)
    blurred = run_linear(partial(module.forward, weights=weights), partial(module.backward, weights=weights), images)
    if not is_learned:
        return blurred, None
    # Blurred by w + h w' along both axes, minus the same with -h, is 2 h times the derivative of the product of both
    # passes with respect to sigma: exactly, whatever h is, since what is squared in h cancels.
    length = float(slope.abs().sum()) or 1.0
    step = (slope / length).to(images.dtype)

    def change(passes: Callable[..., Tensor], whole: Tensor) -> Tensor:
        # The gradient of of_sigma, whose factor below is 0. To know of a GPU would be to wait for it.
        if whole.device.type == "cpu" and not bool(whole.any()):
            return whole
        return (passes(whole, weights=weights + step) - passes(whole, weights=weights - step)) * (length / 2)

    of_sigma = run_linear(partial(change, module.forward), partial(change, module.backward), images)
    return blurred, of_sigma * (sigma_px - constant(sigma_px)).to(images.dtype)
