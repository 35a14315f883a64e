"""Blur images with a Gaussian."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.checks import check_shape, check_tensors
from diffrender.derivatives import constant, has_derivative
from diffrender.errors import ShapeError
from diffrender.imaging.filters import gaussian_weights
from diffrender.ops.backend import implementation
from diffrender.ops.differentiable import run_kernel, run_linear


def blur(images: Tensor, sigma_px: float | Tensor, *, backend: str | None = None) -> Tensor:
    """Blur images with a Gaussian of standard deviation `sigma_px`; differentiable in both, in sigma_px once.

    Outside of its border the image continues with its border pixels. The Gaussian is sampled at whole pixels, cut at
    four sigmas and normalized; sigma_px = 0 gives the images back. The same as imaging.filters.gaussian_blur, faster.

    images: [N, H, W, C] float32 or float64. sigma_px: a number, or a tensor [] that may be learned.
    Raises ShapeError for another shape or dtype, and for a sigma_px that is negative or not finite.
    """
    value = _checked(images, sigma_px)
    if value == 0 or images.numel() == 0:
        return images
    name, module = implementation("blur", images.device, backend)
    if name == "reference":
        return module.forward(images, sigma_px)
    taps = _taps(value, images.dtype)
    passes = (partial(each, weights=taps.weights) for each in (module.forward, module.backward))
    blurred = run_linear(*passes, images)
    if not (isinstance(sigma_px, Tensor) and has_derivative(sigma_px)):
        return blurred
    of_sigma = run_linear(*(_of_any(taps.slope(each)) for each in (module.forward, module.backward)), images)
    return blurred + of_sigma * (sigma_px - constant(sigma_px)).to(images.dtype)


def blur_channels(
    images: Tensor,
    sigma_px: float | Tensor,
    channels: slice,
    where: Tensor | None = None,
    *,
    backend: str | None = None,
) -> Tensor:
    """Blur some channels of images as `blur` does; the others stay. Differentiable once.

    images: [N, H, W, C]. channels: which, a slice without step. where: [N, H, W] bool: of which pixels the derivative
        by sigma_px counts; None: of all.
    Raises ShapeError as `blur` does.
    """
    value = _checked(images, sigma_px)
    if where is not None:
        check_shape("blur_channels", "where", where, images.shape[:3])
        if where.dtype != torch.bool:
            raise ShapeError(f"blur_channels: where must be bool, got {where.dtype}")
    if value == 0 or images.numel() == 0:
        return images
    name, module = implementation("blur", images.device, backend)
    if name != "reference":
        return run_kernel(_Channels(module, _taps(value, images.dtype), channels), images, sigma_px, where)
    start, stop, _ = channels.indices(images.shape[-1])
    own = images[..., start:stop]
    blurred = module.forward(own, sigma_px)
    if where is not None:
        blurred = torch.where(where[..., None], blurred, module.forward(own, value))
    return torch.cat([images[..., :start], blurred, images[..., stop:]], -1)


class _Taps(NamedTuple):
    """weights, slopes: [K] of the Gaussian, and their derivatives by sigma."""

    weights: Tensor
    slopes: Tensor

    def slope(self, passes: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
        """Return the derivative of both passes, or of their transpose, by sigma.

        Blurred by w + h w' along both axes, minus the same with -h, is 2 h times the derivative of the product of both:
        exactly, whatever h is, since what is squared in h cancels.
        """
        length = float(self.slopes.double().abs().sum()) or 1.0
        step = (self.slopes.double() / length).to(self.slopes.dtype)

        def change(images: Tensor) -> Tensor:
            up, down = (passes(images, weights=self.weights + sign * step) for sign in (1, -1))
            return (up - down) * (length / 2)

        return change


class _Channels:
    """The kernel of `blur_channels`, as run_kernel wants one. module: of the implementation of `blur`."""

    __name__ = "diffrender.ops.blur.op"

    def __init__(self, module: ModuleType, taps: _Taps, channels: slice) -> None:
        self._module, self._taps, self._channels = module, taps, channels

    def forward(self, images: Tensor, sigma_px: float | Tensor, where: Tensor | None) -> Tensor:
        """Return the blurred images."""
        return self._module.forward(images, self._taps.weights, self._channels)

    def backward(
        self, grad: Tensor, images: Tensor, sigma_px: Tensor, where: Tensor | None, wants: tuple[bool, ...]
    ) -> tuple[Tensor | None, Tensor | None, None]:
        """Return the gradients of images and sigma_px."""
        of_images = self._module.backward(grad, self._taps.weights, self._channels) if wants[0] else None
        if not wants[1]:
            return of_images, None, None
        of_sigma = self._module.slope_product(grad, images, *self._taps, self._channels, where)
        return of_images, of_sigma.to(sigma_px.dtype), None

    def jvp(
        self, tangents: tuple[Tensor | None, ...], images: Tensor, sigma_px: Tensor, where: Tensor | None
    ) -> Tensor | None:
        """Return the tangents [K, N, H, W, C] of the images."""
        of_images, of_sigma = tangents[:2]
        total = None if of_images is None else torch.stack([self.forward(each, sigma_px, where) for each in of_images])
        if of_sigma is None:
            return total
        slope = self._taps.slope(self._module.forward)(images[..., self._channels])
        change = images.new_zeros(images.shape)
        change[..., self._channels] = slope if where is None else slope.where(where[..., None], 0)
        moved = of_sigma.to(images.dtype).reshape(-1, 1, 1, 1, 1) * change
        return moved if total is None else total + moved


def _checked(images: Tensor, sigma_px: float | Tensor) -> float:
    """Return the value of sigma_px."""
    check_tensors("blur", images=(images, "N H W C"))
    value = float(constant(sigma_px)) if isinstance(sigma_px, Tensor) else sigma_px
    if not (math.isfinite(value) and value >= 0):
        raise ShapeError(f"blur: sigma_px must be at least 0, got {value}")
    return value


def _taps(value: float, dtype: torch.dtype) -> _Taps:
    offset, weights = gaussian_weights(value)
    squares = offset.double().square()
    slopes = weights * (squares - (weights * squares).sum()) / value**3
    return _Taps(weights.to(dtype), slopes.to(dtype))


def _of_any(passes: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return linear `passes` that do nothing with zeros, such as a gradient times 0; a GPU is not waited for."""
    return lambda whole: whole if whole.device.type == "cpu" and not bool(whole.any()) else passes(whole)
