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
# Of a pixel that a mask without fractions counts as the object's; with less of it, the mask is too wide there.
LEAST = 0.4
# Colours of an object that differ by less than this part of how far it is from the background are one.
PLAIN = 0.5


def replace_background(rgb: Tensor, mask: Tensor, background: Sequence[float], known: Tensor | None = None) -> None:
    """Change the colours of an opaque photograph [H, W, 3] at the rim of what its mask shows, in place.

    A pixel there is a mixture: coverage times the colour of the object, plus the rest times that of what is behind it,
    which is the mean of what is seen beside it. Where `mask` [H, W] is a fraction, `rgb` becomes the colour of the
    object alone, as far as that is among those beside it. Where a mask without fractions is 1, coverage follows from
    the colours on both sides, and the rest becomes `background`, linear RGB; where that is what was there already,
    nothing changes. Nothing changes either where no background is seen nearby, or a mask without fractions has an
    object of more colours than tell it from the background, or if fractions do not tell the mixture: where colours are
    those of the object already.
    known: [H, W] how much of each pixel is known, None: all; others are neither looked at nor changed.
    """
    covered = (mask > NOTHING).numpy()
    if not covered.any():
        return
    rows, columns = (np.flatnonzero(covered.any(axis)) for axis in (1, 0))
    part = tuple(slice(max(ends[0] - REACH - 1, 0), ends[-1] + REACH + 2) for ends in (rows, columns))
    share, colors, covered = mask[part].numpy(), rgb[part].numpy(), covered[part]
    is_known = np.ones_like(covered) if known is None else (known[part] >= WHOLE).numpy()
    whole = share >= WHOLE
    is_sharp = (covered & ~whole).sum() < FRACTIONAL * covered.sum() ** 0.5
    # What has a neighbour of the other kind may be mixed itself, two pixels deep where fractions are not known.
    outside = ~_grown(covered, 1) & is_known
    near = _grown(outside, REACH) & covered & is_known
    inside = ~_grown(~whole, 2 if is_sharp else 1) & is_known
    y, x = np.nonzero(near & ~(inside if is_sharp else whole))
    if not len(y):
        return
    behind, has_behind, _, _ = _seen_beside(colors, outside, y, x)
    front, has_front, low, high = _seen_beside(colors, inside, y, x)
    coverage, pixels = share[y, x, None], colors[y, x]
    apart = front - behind
    squared = (apart * apart).sum(1, keepdims=True)
    along = ((pixels - behind) * apart).sum(1, keepdims=True) / np.maximum(squared, 1e-12)
    is_apart = squared > ALIKE**2
    if is_sharp:
        is_plain = (high - low).max(1, keepdims=True) < PLAIN * np.abs(apart).max(1, keepdims=True)
        coverage = np.where(is_apart & is_plain & (along > LEAST), along.clip(LEAST, 1), 1)
        changed = pixels + (1 - coverage) * (np.asarray(background, np.float32) - behind)
    else:
        # Some programs write the object's colours alone, and some masks are softer than outlines.
        is_told = is_apart[:, 0] & has_behind & has_front
        found, stated = along[is_told], coverage[is_told]
        if not len(found) or np.median(np.abs(found - stated)) > np.median(np.abs(found - 1)):
            return
        changed = (pixels - (1 - coverage) * behind) / coverage
        margin = high - low + ALIKE
        changed = changed.clip(low - margin, high + margin)
    is_changed = has_behind & has_front & np.isfinite(changed).all(1)
    colors[y[is_changed], x[is_changed]] = np.maximum(changed, 0)[is_changed]


def _grown(region: np.ndarray, pixels: int) -> np.ndarray:
    """Return the pixels of a region [H, W] and those that are at most so many from it along both axes."""
    for _ in range(pixels):
        wide = region.copy()
        wide[:, 1:] |= region[:, :-1]
        wide[:, :-1] |= region[:, 1:]
        region = wide.copy()
        region[1:] |= wide[:-1]
        region[:-1] |= wide[1:]
    return region


def _seen_beside(
    colors: np.ndarray, known: np.ndarray, y: np.ndarray, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean colour [P, 3] of what is known at most REACH pixels from each of P pixels, and whether any is.

    And the least and the largest colours there, [P, 3].
    """
    height, width = known.shape
    total, count = np.zeros((len(y), 3), np.float32), np.zeros((len(y), 1), np.float32)
    low, high = np.full_like(total, np.inf), np.full_like(total, -np.inf)
    for row in range(-REACH, REACH + 1):
        for column in range(-REACH, REACH + 1):
            at = (y + row).clip(0, height - 1), (x + column).clip(0, width - 1)
            chosen = known[at]
            values = colors[at][chosen]
            total[chosen] += values
            count[chosen] += 1
            low[chosen], high[chosen] = np.minimum(low[chosen], values), np.maximum(high[chosen], values)
    return total / np.maximum(count, 1), count[:, 0] > 0, low, high
