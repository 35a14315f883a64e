"""Radial: a pinhole camera whose lens moves image points along their radius, as learned lenses do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from diffrender.scene.projection import Projection

# Squared radius on the image plane up to which the polynomial holds: 63 degrees off the axis, or nine tenths of the way
# to where it would fold. Rays beyond are moved by the same factor, so that no two are seen at one point.
LARGEST_SQUARED, BEFORE_FOLD = 4.0, 0.9
NEWTON_STEPS = 20


@dataclass(frozen=True)
class Radial(Projection):
    """Distortion by 1 + k1 r^2 + k2 r^4, where r is the distance from the axis on the image plane of the pinhole.

    It is that of COLMAP's RADIAL and OpenCV's first two coefficients (D. C. Brown, "Close-range camera calibration",
    1971). k1, k2: [N].

    Edges are drawn as chords of the curves that they are. One of L pixels at radius r is off by at most
    L^2 / (8 f) (6 |k1| r + 20 |k2| r^3) pixels, the curve's bend times the square of its length: .003 pixels of 10 at
    r = .5, k1 = .05 and a focal length f of 600 pixels. Faces that are large in the image must be subdivided.
    """

    k1: Tensor
    k2: Tensor

    is_undone_on_reading: ClassVar[bool] = True

    def to_image_plane(self, points_c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return x and y times the distortion, and w = depth = z; finite everywhere."""
        xy, depth = points_c[..., :2], points_c[..., 2:3]
        # Behind the camera the factor is that of the widest rays; such corners are clipped.
        squared = xy.square().sum(-1, keepdim=True) / depth.clamp_min(1e-6).square()
        return xy * self._factor(torch.minimum(squared, self._limit())), depth, depth

    def from_image_plane(self, xy: Tensor, depth: Tensor) -> Tensor:
        """Invert the distortion by Newton's method along the radius."""
        limit, k1, k2 = self._limit(), self.k1[:, None, None], self.k2[:, None, None]
        distorted, at_limit = xy.norm(dim=-1, keepdim=True), self._factor(limit)
        radius = torch.minimum(distorted, limit.sqrt())
        for _ in range(NEWTON_STEPS):
            squared = radius.square()
            slope = 1 + squared * (3 * k1 + 5 * k2 * squared)
            radius = radius - (radius * self._factor(squared) - distorted) / slope
            radius = torch.minimum(radius.clamp_min(0), limit.sqrt())
        factor = torch.where(distorted < limit.sqrt() * at_limit, self._factor(radius.square()), at_limit)
        straight = xy / factor
        return torch.cat([straight * depth, depth], -1)

    def _factor(self, squared: Tensor) -> Tensor:
        """Return the distortion at squared radii [N, P, 1]."""
        return 1 + squared * (self.k1[:, None, None] + squared * self.k2[:, None, None])

    def _limit(self) -> Tensor:
        """Return the squared radius [N, 1, 1] up to which the polynomial holds, without gradient."""
        k1, k2 = (part.detach().double()[:, None, None] for part in (self.k1, self.k2))
        # The smallest positive root of 1 + 3 k1 s + 5 k2 s^2, the slope of the distorted radius.
        root = 9 * k1.square() - 20 * k2
        below = root.clamp_min(0).sqrt() - 3 * k1
        fold = torch.where((root >= 0) & (below > 0), 2 / below.clamp_min(1e-12), torch.inf)
        return (BEFORE_FOLD * fold).clamp_max(LARGEST_SQUARED).to(self.k1.dtype)
