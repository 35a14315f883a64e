"""A camera of each projection, and a lens that bends lines: what the contract of projections is tested with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.scene.projection import Projection
from diffrender.scene.projections import PROJECTIONS


@dataclass(frozen=True)
class RadialLens(Projection):
    """A pinhole whose image is stretched: (x, y) / z (1 + k1 r^2), with r the distance from the middle.

    k1: [N], at least 0.
    """

    k1: Tensor

    def to_image_plane(self, points_c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x and y times their stretch, w = depth = z."""
        depth = points_c[..., 2:3]
        stretch = 1 + self.k1[:, None, None] * (points_c[..., :2] / depth).square().sum(-1, keepdim=True)
        return points_c[..., :2] * stretch, depth, depth

    def from_image_plane(self, xy: Tensor, depth: Tensor) -> Tensor:
        """The radius by Newton's method on r (1 + k1 r^2); (x, y) along it."""
        k1, stretched = self.k1[:, None, None], xy.norm(dim=-1, keepdim=True)
        radius = stretched
        for _ in range(30):
            radius = radius - (radius * (1 + k1 * radius**2) - stretched) / (1 + 3 * k1 * radius**2)
        inward = (radius / stretched.clamp_min(1e-12)).where(stretched > 0, 1.0)
        return torch.cat([xy * inward * depth, depth], -1)


def lens(kind: type[Projection], n_views: int, amount: float = 0.1) -> Projection:
    """A projection of a kind for `n_views` cameras, each of its parameters `amount`."""
    names = kind.parameter_names()
    return kind(**{name: torch.full((n_views,), amount, dtype=torch.float64) for name in names})


KINDS = {**PROJECTIONS, "RADIAL": RadialLens}
