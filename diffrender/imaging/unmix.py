"""What shines through at the rim of an object in a photograph: another background in the place of the one there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

# Coverage that is all or nothing of a pixel.
WHOLE, NOTHING = 0.999, 0.001
# How far around a pixel the colours of background and object are looked for, in pixels.
REACH = 4
# A mask has no fractions if they are fewer than this times the root of its area, about a quarter of its outline.
FRACTIONAL = 0.5
# Of linear colours: object and background that are nearer to each other do not tell how much there is of both.
ALIKE = 0.03
# Of a pixel that a mask without fractions counts as the object's, at least so much is the object's.
LEAST = 0.4
STEPS = tuple((row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if row or column)


def replace_background(rgb: Tensor, mask: Tensor, background: Sequence[float]) -> None:
    """Change the colours of an opaque photograph [H, W, 3] at the rim of what its mask shows, in place.

    A pixel there is a mixture: coverage times the colour of the object, plus the rest times that of what is behind it,
    which is the mean of what is seen beside it. Where `mask` [H, W] is a fraction, `rgb` becomes the colour of the
    object alone. Where a mask without fractions is 1, coverage follows from the colours on both sides, and the rest
    becomes `background`, linear RGB; where that is what was there already, nothing changes. Nothing changes either
    where no background is seen nearby.
    """
    covered = (mask > NOTHING).numpy()
    if not covered.any():
        return
    rows, columns = (np.flatnonzero(covered.any(axis)) for axis in (1, 0))
    part = tuple(slice(max(ends[0] - REACH - 1, 0), ends[-1] + REACH + 2) for ends in (rows, columns))
    share, colors = mask[part].numpy(), rgb[part].numpy()
    whole = share >= WHOLE
    is_sharp = (covered[part] & ~whole).sum() < FRACTIONAL * covered.sum() ** 0.5
    # What has a neighbour of the other kind may be mixed itself, two pixels deep where fractions are not known.
    inside, outside = _eroded(whole, 2 if is_sharp else 1), _eroded(~covered[part], 1)
    y, x = np.nonzero(covered[part] & ~(inside if is_sharp else whole))
    behind, has_behind = _means(colors, outside, y, x)
    coverage, pixels = share[y, x, None], colors[y, x]
    if is_sharp:
        front, has_front = _means(colors, inside, y, x)
        apart = front - behind
        squared = (apart * apart).sum(1, keepdims=True)
        along = ((pixels - behind) * apart).sum(1, keepdims=True) / np.maximum(squared, 1e-12)
        coverage = np.where(squared > ALIKE**2, along.clip(LEAST, 1), 1)
        changed = pixels + (1 - coverage) * (np.asarray(background, np.float32) - behind)
        has_behind &= has_front
    else:
        changed = (pixels - (1 - coverage) * behind) / coverage
    colors[y[has_behind], x[has_behind]] = np.maximum(changed, 0)[has_behind]


def _eroded(region: np.ndarray, times: int) -> np.ndarray:
    """Return the pixels of a region [H, W] that are so far from others; beyond the picture, it goes on."""
    height, width = region.shape
    for _ in range(times):
        padded = np.pad(region, 1, constant_values=True)
        region = region.copy()
        for row, column in STEPS:
            region &= padded[1 + row : 1 + row + height, 1 + column : 1 + column + width]
    return region


def _means(colors: np.ndarray, known: np.ndarray, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean colour [P, 3] of what is known at most REACH pixels from each of P pixels, and whether any is."""
    height, width = known.shape
    total, count = np.zeros((len(y), 3), np.float32), np.zeros((len(y), 1), np.float32)
    for row in range(-REACH, REACH + 1):
        for column in range(-REACH, REACH + 1):
            at = (y + row).clip(0, height - 1), (x + column).clip(0, width - 1)
            chosen = known[at]
            total[chosen] += colors[at][chosen]
            count[chosen] += 1
    return total / np.maximum(count, 1), count[:, 0] > 0
