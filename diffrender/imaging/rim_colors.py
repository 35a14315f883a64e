"""Colours of an object where its outline passes through the pixels of a photograph, without what is behind it."""

from __future__ import annotations

import numpy as np
from torch import Tensor

# Coverage that is all of a pixel; how far from such pixels, in pixels, colours are carried.
WHOLE, REACH = 0.999, 4
# Of the root of an object's area, about a quarter of its outline: masks with fewer fractions are sharp.
FRACTIONAL = 0.5
NEIGHBOURS = tuple((row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if row or column)


def replace_rim_colors(rgb: Tensor, mask: Tensor) -> None:
    """Give the pixels of `rgb` [H, W, 3] at the rim of an object the colours beside them, in place.

    mask: [H, W] coverage of an opaque photograph, whose pixels at the rim show what is behind the object as well. The
        rim is all that is covered in part or has a neighbour that is. Its colours are carried outwards from the inside,
        as means of neighbours, at most REACH pixels; those of parts that are too thin to have an inside stay.
    """
    covered = (mask > 0).numpy()
    if not covered.any():
        return
    rows, columns = (np.flatnonzero(covered.any(axis)) for axis in (1, 0))
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    # Beyond the photograph nothing is known, and the object goes on.
    whole = np.pad((mask[part] >= WHOLE).numpy(), 1, constant_values=True)
    height, width = whole.shape[0] - 2, whole.shape[1] - 2
    # Without fractions, a pixel that is nine tenths of the object is all of it, and may be the second from the rim.
    is_sharp = float((covered[part] & ~whole[1:-1, 1:-1]).sum()) < FRACTIONAL * float(covered.sum()) ** 0.5
    for _ in range(2 if is_sharp else 1):
        known = whole.copy()
        for row, column in NEIGHBOURS:
            known[1:-1, 1:-1] &= whole[1 + row : 1 + row + height, 1 + column : 1 + column + width]
        whole = known.copy()
    known[[0, -1]], known[:, [0, -1]] = False, False
    y, x = np.nonzero(covered[part] & ~known[1:-1, 1:-1])
    colors = rgb[part].numpy()
    for _ in range(REACH):
        near = [(y + row, x + column) for row, column in NEIGHBOURS]
        is_known = np.stack([known[at_y + 1, at_x + 1] for at_y, at_x in near])
        count = is_known.sum(0)
        found = count > 0
        total = np.zeros((int(found.sum()), 3), np.float32)
        for each, (at_y, at_x) in zip(is_known, near, strict=True):
            chosen = each & found
            total[chosen[found]] += colors[at_y[chosen], at_x[chosen]]
        colors[y[found], x[found]] = total / count[found, None]
        known[y[found] + 1, x[found] + 1] = True
        y, x = y[~found], x[~found]
