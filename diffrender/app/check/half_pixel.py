"""A usual mistake of intrinsics: pixel centres at whole numbers in a file in which they are at .5, or the reverse."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.app.verdict.reason import Reason
from diffrender.scene.target_views import Views
from diffrender.setup.epipolar_tangents import find_tangents, shift_all
from diffrender.setup.region import sight_of_views

# Photographs that are shrunk more have half a pixel that is smaller than the errors of masks: 1,280 for 256 pixels.
MOST_SHRUNK = 5.0
# In pixels of the photographs: how far from half a pixel a shift may be that is known well, and one that is known less.
# Sound captures with masks by a threshold are off by .7 in one direction, which is why one alone does not tell.
WELL_KNOWN, NEAR, KNOWN, NEAR_ENOUGH = 0.08, 0.15, 0.25, 0.3
# What is left of the disagreement of outlines.
PART_LEFT = 0.75
UNTOLD = "masks do not tell whether cx and cy are half a pixel off"


class CommonShift(NamedTuple):
    """The one shift of all pictures by which outlines agree, in pixels of the photographs.

    px: [2] (x, y). errors: [2] their standard errors. before, after: how far outlines are apart without and with it.
    """

    px: Tensor
    errors: Tensor
    before: float
    after: float

    def reason(self) -> Reason | None:
        """Return that pictures are half a pixel off, to the right and down or to the left and up, if they are."""
        if self.after > PART_LEFT * self.before:
            return None
        way = 0.5 * float(self.px[self.errors.argmin()].sign())
        away, is_well_known = (self.px - way).abs(), self.errors < WELL_KNOWN
        is_near = torch.where(is_well_known, away < NEAR, away < NEAR_ENOUGH) | (self.errors > KNOWN)
        if not (bool(is_near.all()) and bool((is_well_known & (away < NEAR)).any())):
            return None
        # A picture that must go left is seen by a camera whose principal point is too far left.
        change = "add 0.5 to" if way < 0 else "subtract 0.5 from"
        return Reason(
            "half_pixel",
            f"The pictures are half a pixel off: outlines agree if all are shifted by {self._shown()} pixels of the"
            f" photographs; without that they are {self.before / max(self.after, 1e-9):.1f} times as far apart",
            f"Here the centre of the first pixel is at (0.5, 0.5), in other programs at (0, 0): {change} cx and cy",
        )

    def fact(self) -> str:
        """Return what is known of it."""
        told = f"outlines agree best if all pictures are shifted by {self._shown()} of their pixels"
        return told if bool((self.errors < KNOWN).all()) else f"{told}: {UNTOLD}"

    def _shown(self) -> str:
        pairs = zip(self.px.tolist(), self.errors.tolist(), strict=True)
        return f"({', '.join('unknown' if e > KNOWN else f'{s:+.2f} +- {e:.2f}' for s, e in pairs)})"


def measure_common_shift(views: Views) -> CommonShift | None:
    """Return the shift of all pictures by which the outlines of their masks agree.

    None if that cannot be told: of photographs much larger than `views`, or taken by cameras whose masks do not
    determine it.
    """
    shrunk = _shrunk_by(views)
    is_seen = views.masks is not None and views.cameras.projection.default_near > 0 and sight_of_views(views).is_met
    if shrunk is None or shrunk > MOST_SHRUNK or not is_seen:
        return None
    found = shift_all(find_tangents(views))
    if found is None:
        return None
    return CommonShift(shrunk * found.px[0], shrunk * found.errors[0], found.before, found.after)


def _shrunk_by(views: Views) -> float | None:
    """Return how many times as large the photographs are as `views` show them; None if they differ or are unknown."""
    if views.files is None or any(file is None for file in views.files):
        return None
    ratios = {
        round(file.width / width, 2)
        for file, (_, _, _, width) in zip(views.files, views.photo_boxes(), strict=True)
        if file is not None
    }
    return ratios.pop() if len(ratios) == 1 else None
