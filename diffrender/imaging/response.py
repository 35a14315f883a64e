"""Response curves: how a camera's pictures depart from the sRGB curve that they are decoded with."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.imaging.color import linear_from_srgb, srgb_from_linear

INTERVALS = 8
"""Of a learned curve: enough for curves of cameras, which are smooth in the sRGB-encoded domain."""


def straight_response(intervals: int = INTERVALS) -> Tensor:
    """Return the values [intervals - 1] of the curve that changes nothing."""
    return torch.arange(1, intervals) / intervals


def respond(linear: Tensor, response: Tensor) -> Tensor:
    """Return the linear light [N, H, W, C] that pictures seem to show if their cameras have these curves.

    A curve maps encoded values to encoded values, piecewise linearly between evenly spaced knots: a monotone spline of
    order 1 (J. O. Ramsay, "Monotone regression splines in action", 1988). It is fixed at 0 and at 1, which decides how
    much of brightness is exposure, and goes on straight beyond.

    response: [N, K - 1] the increasing values at 1 / K, ..., (K - 1) / K of the encoded range.
    Differentiable in both, with gradients that do not depend on the number of threads.
    """
    steps = _steps(response)
    encoded, n_knots = srgb_from_linear(linear) * steps.shape[1], steps.shape[1]
    bent = torch.zeros_like(encoded)
    for knot in range(n_knots):
        low, high = (0.0 if knot else None), (1.0 if knot < n_knots - 1 else None)
        # Rows first: a sum to one number per view would be split among threads.
        step = steps[:, knot, None].expand(-1, linear.shape[1])[..., None, None]
        inside = encoded - knot
        bent = bent + step * (inside if low is None and high is None else inside.clamp(low, high))
    return linear_from_srgb(bent)


@torch.no_grad()
def undo_response(images: Tensor, response: Tensor) -> Tensor:
    """Return the light [N, H, W, C] that gives linear `images` by these curves: the inverse of `respond`."""
    steps = _steps(response)
    knots = torch.nn.functional.pad(steps.cumsum(1), (1, 0))  # [N, K + 1]
    encoded = srgb_from_linear(images)
    flat = encoded.reshape(len(images), -1).contiguous()
    interval = (torch.searchsorted(knots.contiguous(), flat, right=True) - 1).clamp(0, steps.shape[1] - 1)
    within = (flat - knots.gather(1, interval)) / steps.gather(1, interval)
    return linear_from_srgb(((interval + within) / steps.shape[1]).reshape(encoded.shape))


def _steps(response: Tensor) -> Tensor:
    """Return the increments [N, K] of curves [N, K - 1]."""
    ends = torch.nn.functional.pad(response, (1, 0)), torch.nn.functional.pad(response, (0, 1), value=1.0)
    return ends[1] - ends[0]
