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
    """An image addressed by the texture coordinates of a mesh.

        Lambert(Texture(read_image("bricks.png").rgb))

    texels: [H, W, C] float32 or float64, linear; the texel in row i, column j has its centre at
        uv = ((j + 0.5) / W, (i + 0.5) / H), as in glTF.
    wrap: what is outside 0..1: "repeat" (default) repeats the image, "clamp" continues its border texels.

    Raises ShapeError for a wrong shape, dtype or wrap.
    """

    texels: Tensor
    wrap: str = "repeat"

    def __post_init__(self) -> None:
        check_shape("Texture", "texels", self.texels, ("H", "W", "C"))
        check_float("Texture", "texels", self.texels)
        if self.wrap not in WRAPS:
            raise ShapeError(f"Texture: wrap must be one of {', '.join(WRAPS)}, got {self.wrap!r}")

    def sample(self, uv: Tensor, footprint: Tensor | None = None, *, backend: str | None = None) -> Tensor:
        """Sample the texture at uv [M, 2]: [M, C]; differentiable in texels, uv and footprint.

        footprint: area over which each value is averaged, as in `ops.sample_texture`: [M] width in texels, or
            [M, 2, 2] derivatives of uv with respect to the pixel. If omitted, values are bilinear.
        backend: implementation of the ops; None: the default of the device.
        """
        pyramid = mip_pyramid(self.texels, 1 if footprint is None else None, backend=backend)
        return sample_texture(pyramid, uv, footprint, self.wrap, backend=backend)
