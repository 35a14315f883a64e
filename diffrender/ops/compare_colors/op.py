"""Compare rendered with wanted colours: the penalties of their differences and the gradient in one pass."""

from __future__ import annotations

import math

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.errors import ShapeError
from diffrender.imaging.color import COLOR_SPACES
from diffrender.ops.differentiable import run_differentiable

PENALTIES = ("l1", "l2", "huber", "charbonnier")


def compare_colors(
    rgba: Tensor,
    images: Tensor,
    *,
    space: str = "srgb",
    penalty: str = "l1",
    delta: float = 0.1,
    clips: bool = False,
    added: Tensor | None = None,
    masks: Tensor | None = None,
    weights: Tensor | None = None,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the mean penalty of each view [N] and the mean squared difference [N], both differentiable in rgba.

    They are of rendered minus wanted colours in `space`; the second is what PSNR is made of.

        cost, squared = compare_colors(render(scene, cameras).rgba, images)     # [N], [N]
        psnr_db = -10 * squared.log10()

    rgba: [N, H, W, 4] rendered linear colours and coverage. images: [N, H, W, 3] wanted linear colours.
    space: "linear", "srgb" or "log" (diffrender.imaging.color.COLOR_SPACES).
    penalty: "l1": |d|; "l2": d^2; "huber": d^2 / (2 delta) where |d| < delta, else |d| - delta / 2; "charbonnier":
        sqrt(d^2 + delta^2) - delta.
    clips: a rendering brighter than a wanted value at 1, where 8-bit files are clipped, agrees with it.
    added: [N, 3] an offset of the background of both, which shows where coverage and masks [N, H, W] leave it to; both
        or none.
    weights: [N, H, W] at least 0, how much each pixel counts in both means; None: all the same. Pixels of weight 0 are
        not looked at, and a view of which no pixel counts is 0.
    backend: None for the device's own (Numba on the CPU, Triton on CUDA), "numba", "triton" or "reference".

    Raises ShapeError for unknown names and another delta, and for shapes, dtypes or devices that do not agree.
    """
    tensors = {"rgba": (rgba, "N H W 4"), "images": (images, "N H W 3")}
    if (added is None) != (masks is None):
        raise ShapeError("compare_colors: added needs masks, and masks are for added; give both or none")
    if added is not None and masks is not None:
        tensors |= {"added": (added, "N 3"), "masks": (masks, "N H W")}
    if weights is not None:
        tensors["weights"] = (weights, "N H W")
    check_tensors("compare_colors", **tensors)
    for name, value, known in (("space", space, COLOR_SPACES), ("penalty", penalty, PENALTIES)):
        if value not in known:
            raise ShapeError(f"compare_colors: {name} must be one of {', '.join(known)}, got {value!r}")
    if not (math.isfinite(delta) and delta > 0):
        raise ShapeError(f"compare_colors: delta must be a finite number above 0, got {delta}")
    arguments = (rgba, images, space, penalty, delta, clips, added, masks, weights)
    return run_differentiable("compare_colors", backend, *arguments)
