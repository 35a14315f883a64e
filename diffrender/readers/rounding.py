"""Tell coordinates far from the origin that were rounded before they were written, as those of maps often are."""

from __future__ import annotations

import math

import numpy as np

# Of its size; farther from the origin float32 resolves less than a hundred thousandth of the size.
FAR = 100.0
# Of the size; what is rounded by less is not seen.
COARSE = 1e-4
# Programs that write six or seven digits of a number round those of maps to metres.
DIGITS = 7
# Rounded coordinates are that near to multiples of the step, as a part of it: poses were inverted meanwhile.
NEAR = 1e-3
# Fewer points may be on round numbers by chance, or on purpose.
FEWEST = 6
# Different coordinates of a mesh along an axis; of boxes, there are fewer.
FEWEST_VALUES = 8


def doubt_rounding(points: np.ndarray, faces: np.ndarray | None = None, size: float | None = None) -> str | None:
    """Return a note if `points` [P, 3] float64, far along an axis, are multiples there of a coarse step of their size.

    It is the step of float32 at their distance from the origin, or a power of ten that leaves seven digits. faces:
    [F, 3] of a mesh; where it is a regular grid, as of heights, its step is its own. size: the extent of the whole that
    the points are a part of.
    """
    if len(points) < FEWEST:
        return None
    extent = size or float(np.ptp(points, axis=0).max())
    found, most_values = {}, 0
    for name, values in zip("xyz", points.T, strict=True):
        is_far = np.abs(values).max() > FAR * extent
        step = _step(values) if is_far else None
        if step is not None and step > COARSE * extent and not _is_grid(values, faces, step):
            found[name] = step
            most_values = max(most_values, len(np.unique(values)))
    if not found or (faces is not None and most_values < FEWEST_VALUES):
        return None
    steps = ", ".join(f"{name} of {step:g}" for name, step in found.items())
    return (
        f"its coordinates are multiples of a coarse step ({steps}; {max(found.values()) / extent:.1g} of its size):"
        " they were probably rounded, to float32 or few digits, by what wrote it; export it relative to a nearer origin"
    )


def _step(values: np.ndarray) -> float | None:
    """Return the step that all values are multiples of, if it is that of float32 or of few digits; else None."""
    least, most = np.abs(values).min(), np.abs(values).max()
    if not 0 < np.ptp(values) < math.inf or most == 0:
        return None
    with np.errstate(over="ignore"):
        single = float(np.spacing(np.float32(least)))
    if single > 0 and _are_multiples(values, single) and not _are_multiples(values, 2 * single):
        return single
    decimal = 10.0 ** (math.floor(math.log10(most)) + 1 - DIGITS)
    if not _are_multiples(values, decimal):
        return None
    while _are_multiples(values, 10 * decimal):
        decimal *= 10
    return decimal


def _are_multiples(values: np.ndarray, step: float) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        count = values / step
        return bool((np.abs(count - np.round(count)) < NEAR).all())


def _is_grid(values: np.ndarray, faces: np.ndarray | None, step: float) -> bool:
    """Return whether each face has one edge across the axis, and two that all span the same along it."""
    if faces is None:
        return False
    corners = values[faces]
    spans = np.round(np.abs(corners - np.roll(corners, -1, 1)) / step)
    return bool(((spans == 0).sum(1) == 1).all()) and len(np.unique(spans[spans > 0])) == 1
