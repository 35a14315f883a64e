"""The op `sample_texture`: contract, checks, choice of implementation, autograd."""

from __future__ import annotations

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.errors import ShapeError
from diffrender.ops.differentiable import run_differentiable
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
    tensors = {"pyramid.texels": (pyramid.texels, f"{sum(h * w for h, w in pyramid.sizes)} C"), "uv": (uv, "M 2")}
    if footprint is not None:
        is_width = isinstance(footprint, Tensor) and footprint.dim() == 1
        tensors["footprint"] = (footprint, "M" if is_width else "M 2 2")
    check_tensors("sample_texture", **tensors)
    if wrap not in WRAPS:
        raise ShapeError(f"sample_texture: wrap must be one of {', '.join(WRAPS)}, got {wrap!r}")
    if len(pyramid.sizes) == 1:
        footprint = None
    return run_differentiable("sample_texture", backend, pyramid.texels, pyramid.sizes, uv, footprint, wrap)
