"""Pictures of another size than their cameras were found for, but of the same shape: their lenses are scaled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from diffrender.readers.captures.picture_turns import choose_turn
from diffrender.readers.captures.posed_image import Intrinsics

# By how much sides in pixels are off when they are divided: they are rounded, or cut.
ROUNDED_UP, CUT = 0.5, 1.0


class Resized(NamedTuple):
    """A picture's turn and size (width, height), as in `choose_turn`, and the lens for that size."""

    turn: bool | None
    size: tuple[int, int] | None
    lens: Intrinsics

    def is_unfit(self) -> bool:
        """Return whether the picture has another shape than its camera."""
        return self.size is not None and self.turn is None


def fit_lens(file: Path, width: float, height: float, lens: Intrinsics) -> Resized:
    """Return how a picture of any size is to be read whose camera has this one, with `lens` in its pixels.

    Its shape must be the camera's, to the rounding of sides that were divided; each axis is scaled by itself.
    """
    turn, size = choose_turn(file, lambda w, h: has_shape(w, h, width, height))
    if turn is None or size is None:
        return Resized(turn, size, lens)
    x, y = size[0] / width, size[1] / height
    scaled = replace(
        lens,
        focal_x_px=None if lens.focal_x_px is None else lens.focal_x_px * x,
        focal_y_px=None if lens.focal_y_px is None else lens.focal_y_px * y,
        center_x_px=None if lens.center_x_px is None else lens.center_x_px * x,
        center_y_px=None if lens.center_y_px is None else lens.center_y_px * y,
    )
    return Resized(turn, size, scaled)


def has_shape(w: int, h: int, width: float, height: float) -> bool:
    """Return whether one scale takes width x height to w x h before rounding; at the full size nothing is rounded."""
    if w == width or h == height:
        return w == width and h == height
    low = max((w - ROUNDED_UP) / width, (h - ROUNDED_UP) / height)
    return low < min((w + CUT) / width, (h + CUT) / height)
