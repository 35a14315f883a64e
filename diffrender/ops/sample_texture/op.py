"""Sample a texture at given coordinates."""

from __future__ import annotations

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.errors import ShapeError
from diffrender.ops.differentiable import run_differentiable
from diffrender.ops.mip_pyramid import MipPyramid

WRAPS = ("repeat", "clamp")
"""What a texture is outside of 0..1: itself again, or its border texels."""


def sample_texture(
    pyramid: MipPyramid,
    uv: Tensor,
    footprint: Tensor | None = None,
    wrap: str = "repeat",
    *,
    backend: str | None = None,
) -> Tensor:
    """Sample a texture at `uv`, [M, C], averaged over about the area that each sample stands for.

    Without a footprint: bilinear in the finest level. With one: trilinear, between the two levels whose texels are next
    in size to the footprint. Differentiable in the texels, uv and footprint.

        pyramid = mip_pyramid(texels)                                           # texels [H, W, C]
        uv, derivatives = screen_uvs(uvs, uv_faces, face_id, verts_hom, faces, face_id, view, xy_px)
        color = sample_texture(pyramid, uv, derivatives)

    pyramid: as from mip_pyramid(texels); float32 or float64. As in glTF, texel (row i, column j) of a level H x W has
        its centre at uv = ((j + 0.5) / W, (i + 0.5) / H).
    uv: [M, 2], u to the right and v down, 0..1 over the image; any value. A non-finite one gives NaN. Coordinates with
        v upwards, as in OBJ files, show the texture upside down: the mesh readers turn them.
    footprint: [M] the width of the area in texels of the finest level, or [M, 2, 2] the derivatives of uv by the
        pixel's (x, y), `footprint[m, i, j] = d uv_i / d pixel_j`, as from `screen_uvs`. The width of these is half the
        Frobenius norm of the derivatives in texels: the root mean square of the longest and shortest axis, less half a
        level, since bilinear filtering already weighs an area wider than a texel. It is smooth in the derivatives.
        Omitted, distant textures flicker as the camera moves, and their gradients only reach single texels.
    wrap: what the texture is outside of 0..1: "repeat" for tiles, "clamp" for the border texel.
    backend: None for the device's own (Numba on the CPU, Triton on CUDA), "numba", "triton" or "reference".

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
