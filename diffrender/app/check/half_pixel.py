"""A usual mistake of intrinsics: pixel centres at whole numbers in a file in which they are at .5, or the reverse."""

from __future__ import annotations

import torch

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


def find_half_pixel(views: Views) -> Reason | None:
    """Pictures that are all shifted by half a pixel of the photographs, to the right and down or to the left and up.

    None if that cannot be told: of photographs much larger than `views`, or taken by cameras whose masks do not
    determine a common shift.
    """
    shrunk = _shrunk_by(views)
    is_seen = views.masks is not None and views.cameras.projection.default_near > 0 and sight_of_views(views).is_met
    if shrunk is None or shrunk > MOST_SHRUNK or not is_seen:
        return None
    found = shift_all(find_tangents(views))
    if found is None or found.after > PART_LEFT * found.before:
        return None
    shift, error = (shrunk * each[0] for each in (found.px, found.errors))
    way = 0.5 * float(shift[error.argmin()].sign())
    away, is_well_known = (shift - way).abs(), error < WELL_KNOWN
    is_near = torch.where(is_well_known, away < NEAR, away < NEAR_ENOUGH) | (error > KNOWN)
    if not (bool(is_near.all()) and bool((is_well_known & (away < NEAR)).any())):
        return None
    # A picture that must go left is seen by a camera whose principal point is too far left.
    change = "add 0.5 to" if way < 0 else "subtract 0.5 from"
    shown = ", ".join(
        "unknown" if float(e) > KNOWN else f"{float(s):+.2f} +- {float(e):.2f}"
        for s, e in zip(shift, error, strict=True)
    )
    return Reason(
        "half_pixel",
        f"The pictures are half a pixel off: outlines agree if all are shifted by ({shown}) pixels of the photographs;"
        f" without that they are {found.before / max(found.after, 1e-9):.1f} times as far apart",
        f"Here the centre of the first pixel is at (0.5, 0.5), in other programs at (0, 0): {change} cx and cy",
    )


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
