"""The op `sample_texture`: contract, checks, choice of implementation, autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffrender.checks import check_float, check_same_device, check_same_dtype, check_shape
from diffrender.errors import ShapeError
from diffrender.ops.backend import implementation
from diffrender.ops.mip_pyramid import MipPyramid

WRAPS = ("repeat", "clamp")
"""What a texture is outside 0..1: itself again, or its border texels."""


def sample_texture(
    pyramid: MipPyramid,
    uv: Tensor,
    footprint: Tensor | None = None,
    wrap: str = "repeat",
    *,
    backend: str | None = None,
) -> Tensor:
    """[M, C] values of a texture at places uv, averaged over about the area that each sample stands for.

    Without a footprint: bilinear in the finest level. With one: trilinear, between the two levels whose texels are next
    in size to the footprint. Differentiable in the texels, uv and footprint.

    pyramid: as from mip_pyramid(texels); float32 or float64. As in glTF, texel (row i, column j) of a level H x W has
        its centre at uv = ((j + 0.5) / W, (i + 0.5) / H).
    uv: [M, 2], u to the right and v down, 0..1 over the image; any value. A non-finite one gives NaN.
    footprint: [M] the width of the area in texels of the finest level, or [M, 2, 2] the derivatives of uv by the
        pixel's (x, y), `footprint[m, i, j] = d uv_i / d pixel_j`. The width of such a one is half the
        Frobenius norm of the derivatives in texels: the root mean square of the longest and shortest axis, less half a
        level, since bilinear filtering already weighs an area wider than a texel. It is smooth in the derivatives.
    wrap: one of WRAPS.

    Raises ShapeError for an unknown wrap, and for shapes, dtypes or devices that do not agree.
    Source: Williams 1983, "Pyramidal parametrics"; Heckbert 1986, "Survey of texture mapping".
    """
    texels = pyramid.texels
    check_shape("sample_texture", "pyramid.texels", texels, (sum(h * w for h, w in pyramid.sizes), "C"))
    check_float("sample_texture", "pyramid.texels", texels)
    check_shape("sample_texture", "uv", uv, ("M", 2))
    tensors = {"pyramid.texels": texels, "uv": uv}
    if footprint is not None:
        shape = (len(uv),) if isinstance(footprint, Tensor) and footprint.dim() == 1 else (len(uv), 2, 2)
        check_shape("sample_texture", "footprint", footprint, shape)
        tensors["footprint"] = footprint
    check_same_device("sample_texture", **tensors)
    check_same_dtype("sample_texture", **tensors)
    if wrap not in WRAPS:
        raise ShapeError(f"sample_texture: wrap must be one of {', '.join(WRAPS)}, got {wrap!r}")
    name, module = implementation("sample_texture", texels.device, backend)
    if footprint is not None and len(pyramid.sizes) == 1:
        footprint = None
    if name == "reference":
        return module.forward(texels, pyramid.sizes, uv, footprint, wrap)
    return _SampleTexture.apply(texels, uv, footprint, pyramid.sizes, wrap, module)  # type: ignore[return-value]


class _SampleTexture(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, texels: Tensor, uv: Tensor, footprint: Tensor | None, sizes: Any, wrap: str, module: Any
    ) -> Tensor:
        ctx.save_for_backward(texels, uv, footprint)
        ctx.sizes, ctx.wrap, ctx.module = sizes, wrap, module
        return module.forward(texels, sizes, uv, footprint, wrap)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        texels, uv, footprint = ctx.saved_tensors
        wants_texels, wants_uv, wants_footprint = ctx.needs_input_grad[:3]
        grads = ctx.module.backward(
            grad_out, texels, ctx.sizes, uv, footprint, ctx.wrap, wants_texels, wants_uv, wants_footprint
        )
        return *grads, None, None, None
