"""Projections of each kind with parameters, and a lens that bends lines, to test the contract of projections."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.scene.projection import Projection
from diffrender.scene.projections import PROJECTIONS


@dataclass(frozen=True)
class RadialLens(Projection):
    """A pinhole with radial distortion 1 + k1 r^2, where r is the distance from the centre: COLMAP's SIMPLE_RADIAL.

    k1: [N], small.
    """

    k1: Tensor

    def to_image_plane(self, points_c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return x and y times the distortion, and w = depth = z; finite also where z is 0."""
        xy, depth = points_c[..., :2], points_c[..., 2:3]
        squared = xy.square().sum(-1, keepdim=True) / depth.clamp_min(0.1).square()
        return xy * (1 + self.k1[:, None, None] * squared), depth, depth

    def from_image_plane(self, xy: Tensor, depth: Tensor) -> Tensor:
        """Invert the distortion by fixed-point iteration."""
        straight = xy
        for _ in range(60):
            straight = xy / (1 + self.k1[:, None, None] * straight.square().sum(-1, keepdim=True))
        return torch.cat([straight * depth, depth], -1)


def lens(kind: type[Projection], n: int, dtype: torch.dtype = torch.float64) -> Projection:
    """Return a projection of `n` cameras, whose parameters, if any, all differ."""
    generator = torch.Generator().manual_seed(0)
    names = kind.parameter_names()
    values = {name: 0.1 * torch.rand(n, generator=generator, dtype=torch.float64) + 0.05 for name in names}
    return kind(**{name: value.to(dtype) for name, value in values.items()})


KINDS = {**PROJECTIONS, "SIMPLE_RADIAL": RadialLens}
