"""RadialTangential: a pinhole camera with the distortion of most lenses, as learned ones have."""

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
class RadialTangential(Projection):
    """Distortion of (x, y) on the image plane of the pinhole, at the distance r from the axis.

    x (1 + k1 r^2 + k2 r^4) + 2 p1 x y + p2 (r^2 + 2 x^2), and so for y with p1 and p2 exchanged: that of COLMAP's and
    OpenCV's OPENCV (D. C. Brown, "Close-range camera calibration", 1971). k1, k2, p1, p2: [N].

    Edges are drawn as chords of the curves that they are. One of L pixels at radius r is off by at most
    L^2 / (8 f) (6 |k1| r + 20 |k2| r^3 + 6 |p1| + 6 |p2|) pixels, the curve's bend times the square of its length: .003
    pixels of 10 at r = .5, k1 = .05 and a focal length f of 600 pixels. Faces that are large in the image must be
    subdivided.
    """

    k1: Tensor
    k2: Tensor
    p1: Tensor
    p2: Tensor

    is_undone_on_reading: ClassVar[bool] = True

    def to_image_plane(self, points_c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the distorted x and y times w, and w = depth = z; finite everywhere."""
        xy, depth = points_c[..., :2], points_c[..., 2:3]
        # Behind the camera the factor is that of the widest rays; such corners are clipped.
        factor, shift = self._distortion(xy / depth.clamp_min(1e-6))
        return xy * factor + depth * shift, depth, depth

    def from_image_plane(self, xy: Tensor, depth: Tensor) -> Tensor:
        """Invert the distortion by Newton's method, along the radius first."""
        straight = self._along_radius(xy)
        if bool(self.p1.any() | self.p2.any()):
            for _ in range(NEWTON_STEPS):
                factor, shift = self._distortion(straight)
                straight = straight - self._solve(straight, straight * factor + shift - xy)
        return torch.cat([straight * depth, depth], -1)

    def _along_radius(self, xy: Tensor) -> Tensor:
        """Return the points [N, P, 2] that the radial part alone moves to `xy`."""
        limit, k1, k2 = self._limit(), self.k1[:, None, None], self.k2[:, None, None]
        distorted, at_limit = xy.norm(dim=-1, keepdim=True), self._factor(limit)
        radius = torch.minimum(distorted, limit.sqrt())
        for _ in range(NEWTON_STEPS):
            squared = radius.square()
            slope = 1 + squared * (3 * k1 + 5 * k2 * squared)
            radius = radius - (radius * self._factor(squared) - distorted) / slope
            radius = torch.minimum(radius.clamp_min(0), limit.sqrt())
        factor = torch.where(distorted < limit.sqrt() * at_limit, self._factor(radius.square()), at_limit)
        return xy / factor

    def _distortion(self, plane: Tensor) -> tuple[Tensor, Tensor]:
        """Return the factor [N, P, 1] of points [N, P, 2], and what is added to them; beyond the limit, those at it."""
        squared = plane.square().sum(-1, keepdim=True)
        limit = self._limit()
        plane = torch.where(squared > limit, plane * (limit / squared.clamp_min(1e-12)).sqrt(), plane)
        x, y = plane.unbind(-1)
        p1, p2 = self.p1[:, None], self.p2[:, None]
        twice, sum_of_squares = 2 * x * y, x * x + y * y
        of_x = p1 * twice + p2 * (sum_of_squares + 2 * x * x)
        of_y = p1 * (sum_of_squares + 2 * y * y) + p2 * twice
        return self._factor(torch.minimum(squared, limit)), torch.stack([of_x, of_y], -1)

    def _solve(self, plane: Tensor, change: Tensor) -> Tensor:
        """Return the way [N, P, 2] at points of the plane by which the distorted ones move by `change`."""
        squared = plane.square().sum(-1, keepdim=True)
        is_inside = squared <= self._limit()
        x, y = (plane * is_inside).unbind(-1)
        k1, k2, p1, p2 = (part[:, None] for part in (self.k1, self.k2, self.p1, self.p2))
        factor = self._factor(torch.minimum(squared, self._limit()))[..., 0]
        slope = 2 * (k1 + 2 * k2 * (x * x + y * y))
        xx = factor + x * x * slope + 2 * p1 * y + 6 * p2 * x
        yy = factor + y * y * slope + 6 * p1 * y + 2 * p2 * x
        xy = x * y * slope + 2 * p1 * x + 2 * p2 * y
        determinant = xx * yy - xy * xy
        u, v = change.unbind(-1)
        return torch.stack([yy * u - xy * v, xx * v - xy * u], -1) / determinant[..., None]

    def _factor(self, squared: Tensor) -> Tensor:
        """Return the radial factor at squared radii [N, P, 1]."""
        return 1 + squared * (self.k1[:, None, None] + squared * self.k2[:, None, None])

    def _limit(self) -> Tensor:
        """Return the squared radius [N, 1, 1] up to which the polynomial holds, without gradient."""
        k1, k2 = (part.detach().double()[:, None, None] for part in (self.k1, self.k2))
        # The smallest positive root of 1 + 3 k1 s + 5 k2 s^2, the slope of the distorted radius.
        root = 9 * k1.square() - 20 * k2
        below = root.clamp_min(0).sqrt() - 3 * k1
        fold = torch.where((root >= 0) & (below > 0), 2 / below.clamp_min(1e-12), torch.inf)
        return (BEFORE_FOLD * fold).clamp_max(LARGEST_SQUARED).to(self.k1.dtype)
