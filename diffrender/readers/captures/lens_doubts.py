"""What is doubtful about the lenses of a capture: numbers that were made for pictures of another size."""

from __future__ import annotations

import math
from collections.abc import Sequence

from diffrender.readers.captures.posed_image import PosedImage
from diffrender.scene.target_views import Views

# From the middle on, in parts of the way to the corner, a principal point is that of a smaller picture; and how far it
# may be from the diagonal then.
SMALLER, ON_DIAGONAL = 0.8, 0.02
# Pixels are seldom narrower, and lenses that squeeze a picture seldom weaker.
SQUARE = 0.75
# How far two fields of view may differ, as a ratio of tangents, to be one that was rounded.
SAME_FIELD = 0.02


def doubt_lenses(frames: Sequence[PosedImage], views: Views) -> list[str]:
    """Return notes on lenses that contradict the size of their pictures. frames: those of `views`."""
    cameras = views.cameras
    boxes = cameras.center_px.new_tensor(views.photo_boxes())
    center, size = cameras.center_px - boxes[:, [1, 0]], boxes[:, [3, 2]]
    is_outside = ((center < 0) | (center > size)).any(1)
    outside = int(is_outside.sum())
    notes = []
    if outside:
        notes.append(
            f"the principal point of {outside} of its {len(frames)} images is outside the picture; focal lengths and"
            " principal points must be in pixels of the image on disk: correct them, or give the images they are for"
        )
    share = 2 * center / size
    is_smaller = (share < SMALLER).all(1) & ((share[:, 0] - share[:, 1]).abs() < ON_DIAGONAL) & ~is_outside
    if bool(is_smaller.any()):
        notes.append(
            f"the principal point of {int(is_smaller.sum())} of its {len(frames)} images is at"
            f" {float(share[is_smaller].mean()) / 2:.0%} of the width and of the height, and not near the middle, as of"
            " a lens for smaller pictures or of fractions; give cx, cy and focal lengths in pixels of the image on disk"
        )
    lenses = [frame.intrinsics for frame in frames]
    ratios = [lens.focal_x_px / lens.focal_y_px for lens in lenses if lens.focal_x_px and lens.focal_y_px]
    squeezed = [ratio for ratio in ratios if not SQUARE <= ratio <= 1 / SQUARE]
    if squeezed:
        notes.append(
            f"the focal lengths of {len(squeezed)} of its {len(frames)} images differ along x and y, by a"
            f" factor of {squeezed[0]:.3g}; if its pixels are square, correct one of the two"
        )
    halves = (size / 2 / cameras.focal_px).tolist()
    for frame, half in zip(frames, halves, strict=True):
        lens = frame.intrinsics
        if (
            lens.distortion is not None and lens.distortion.is_fisheye
        ):  # whose field of view is another function of its focal length
            continue
        for axis, field, focal in ((0, lens.fov_x_rad, lens.focal_x_px), (1, lens.fov_y_rad, lens.focal_y_px)):
            if field is None or focal is None or abs(math.tan(field / 2) / half[axis] - 1) < SAME_FIELD:
                continue
            letter, found = "xy"[axis], math.degrees(2 * math.atan(half[axis]))
            notes.append(
                f"its camera_angle_{letter} is {math.degrees(field):.4g} degrees, but by fl_{letter} and the size of"
                f" its pictures it is {found:.4g}; fl_{letter} is used"
            )
            return notes
    return notes
