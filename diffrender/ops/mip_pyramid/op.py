"""Build the mip levels of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.errors import ShapeError
from diffrender.ops.backend import implementation
from diffrender.ops.differentiable import run_linear

Sizes = tuple[tuple[int, int], ...]


class MipPyramid(NamedTuple):
    """An image at L sizes, each level half of the one before, rounded down but not below 1.

    texels: [T, C] the levels one after the other, the finest first, each row by row.
    sizes: (height, width) of each level.
    """

    texels: Tensor
    sizes: Sizes

    def level(self, index: int) -> Tensor:
        """Return [H, W, C] one level."""
        first = sum(height * width for height, width in self.sizes[:index])
        height, width = self.sizes[index]
        return self.texels[first : first + height * width].unflatten(0, (height, width))


def mip_pyramid(
    texels: Tensor | Sequence[Tensor], levels: int | None = None, *, backend: str | None = None
) -> MipPyramid:
    """Build the image's successive halves, down to 1 x 1 or `levels` in all; differentiable.

    A texel of a level is the exact mean of the level before over its own area: of 2 x 2 texels where the size is even;
    an odd number n of texels becomes (n - 1) / 2, each a little more than two wide. So each level keeps the mean.

    texels: [H, W, C] float32 or float64; or several images of one size and dtype, which become one of all their
        channels.
    Raises ShapeError for an image without pixels, for images that do not agree and for levels below 1.
    Source: Williams 1983, "Pyramidal parametrics".
    """
    images = list(texels) if isinstance(texels, Sequence) else [texels]
    if not images:
        raise ShapeError("mip_pyramid: texels must be an image or several, got none")
    if isinstance(texels, Sequence):
        check_tensors("mip_pyramid", **{f"texels[{i}]": (image, f"H W C{i}") for i, image in enumerate(images)})
    else:
        check_tensors("mip_pyramid", texels=(texels, "H W C"))
    height, width, _ = images[0].shape
    if height < 1 or width < 1:
        raise ShapeError(f"mip_pyramid: texels must have at least one pixel, got {list(images[0].shape)}")
    if levels is not None and levels < 1:
        raise ShapeError(f"mip_pyramid: levels must be at least 1, got {levels}")
    sizes = level_sizes(height, width, levels)
    if len(sizes) == 1:
        joined = images[0] if len(images) == 1 else torch.cat(images, 2)
        return MipPyramid(joined.reshape(height * width, -1), sizes)
    name, module = implementation("mip_pyramid", images[0].device, backend)
    if name == "reference":
        return MipPyramid(module.forward(images, sizes), sizes)
    channels = [image.shape[2] for image in images]
    return MipPyramid(
        run_linear(
            lambda *parts: module.forward(parts, sizes), lambda grad: module.backward(grad, sizes, channels), *images
        ),
        sizes,
    )


def level_sizes(height: int, width: int, levels: int | None = None) -> Sizes:
    """Return (height, width) of each level of an image of this size, down to 1 x 1 or `levels` in all."""
    sizes = [(height, width)]
    while sizes[-1] != (1, 1) and len(sizes) != levels:
        sizes.append((max(1, sizes[-1][0] // 2), max(1, sizes[-1][1] // 2)))
    return tuple(sizes)
