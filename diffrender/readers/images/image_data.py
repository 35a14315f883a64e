"""What every image reader returns."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class ImageData(NamedTuple):
    """One image.

    rgb: [H, W, 3] float32, linear, not multiplied by alpha.
    alpha: [H, W] float32 in 0..1, or None if the file has none.
    """

    rgb: Tensor
    alpha: Tensor | None
