"""What every image reader returns."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

# Alpha of 8 bits that is rounded is still opaque.
OPAQUE = 254.5 / 255
# A note of mesh readers.
TRANSPARENT = "its texture has transparent texels; its surface is opaque"


class ImageData(NamedTuple):
    """One image.

    rgb: [H, W, 3] float32, linear, not multiplied by alpha.
    alpha: [H, W] float32 in 0..1, or None if the file has none.
    """

    rgb: Tensor
    alpha: Tensor | None


def is_opaque(image: ImageData) -> bool:
    """Return whether no pixel is transparent."""
    return image.alpha is None or bool((image.alpha >= OPAQUE).all())
