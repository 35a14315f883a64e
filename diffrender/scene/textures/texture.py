"""Texture: an image on a surface."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diffrender.checks import check_float, check_shape
from diffrender.errors import ShapeError
from diffrender.ops.mip_pyramid import mip_pyramid
from diffrender.ops.sample_texture import WRAPS, sample_texture


@dataclass(frozen=True)
class Texture:
    """An image addressed by texture coordinates.

    texels: [H, W, C] float, linear; texel (row i, column j) has its centre at uv = ((j + 0.5) / W, (i + 0.5) / H).
    wrap: what is outside 0..1: "repeat", the image again, or "clamp", its border texels.
    """

    texels: Tensor
    wrap: str = "repeat"

    def __post_init__(self) -> None:
        check_shape("Texture", "texels", self.texels, ("H", "W", "C"))
        check_float("Texture", "texels", self.texels)
        if self.wrap not in WRAPS:
            raise ShapeError(f"Texture: wrap must be one of {', '.join(WRAPS)}, got {self.wrap!r}")

    def sample(self, uv: Tensor, footprint: Tensor | None = None, *, backend: str | None = None) -> Tensor:
        """Values [M, C] at uv [M, 2]; differentiable in texels, uv and footprint.

        footprint: how large an area of the texture each value is the mean of, as `ops.sample_texture` takes it: [M] in
            texels or [M, 2, 2] derivatives of uv by the pixel. Left out: none, the values are bilinear.
        """
        pyramid = mip_pyramid(self.texels, 1 if footprint is None else None, backend=backend)
        return sample_texture(pyramid, uv, footprint, self.wrap, backend=backend)
