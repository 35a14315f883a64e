"""The colour map of differences: from black for none, through violet and orange, to pale yellow for the largest."""

from __future__ import annotations

from functools import cache

import numpy as np

N_COLORS = 256
# OKLab (Ottosson 2020, https://bottosson.github.io/posts/oklab/): inverse of its second and first matrix.
LMS_FROM_LAB = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
RGB_FROM_LMS = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


@cache
def difference_colors() -> np.ndarray:
    """Return the sRGB colours, uint8 [256, 3], of differences 0..1: lightness rises evenly from violet to yellow.

    Even lightness in OKLab makes equal steps of difference look equal, and keeps the order in a grey copy.
    """
    t = np.linspace(0.0, 1.0, N_COLORS)
    lightness = np.interp(t, [0.0, 0.05, 1.0], [0.0, 0.14, 0.97])
    hue_rad = np.radians(np.interp(t, [0.0, 0.35, 0.7, 1.0], [-75.0, -10.0, 55.0, 105.0]))
    chroma = np.interp(t, [0.0, 0.1, 0.4, 0.7, 0.9, 1.0], [0.0, 0.08, 0.19, 0.17, 0.13, 0.07])
    lab = np.stack([lightness, chroma * np.cos(hue_rad), chroma * np.sin(hue_rad)], -1)
    linear = np.clip((lab @ LMS_FROM_LAB.T) ** 3 @ RGB_FROM_LMS.T, 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(srgb * 255).astype(np.uint8)
