"""What every image reader returns."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

# Alpha of 8 bits that is rounded is still opaque.
OPAQUE = 254.5 / 255


class ImageData(NamedTuple):
    """One image.

    rgb: [H, W, 3] float32, linear, not multiplied by alpha.
    alpha: [H, W] float32 in 0..1, or None if the file has none.
    """

    rgb: Tensor
    alpha: Tensor | None


def transparent_pixels(image: ImageData) -> Tensor | None:
    """Return [H, W] bool, which pixels are transparent; None if none is."""
    pixels = None if image.alpha is None else image.alpha < OPAQUE
    return pixels if pixels is not None and bool(pixels.any()) else None
