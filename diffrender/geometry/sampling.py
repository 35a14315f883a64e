"""Random points on surfaces."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.geometry.primitives import Triangles


class SurfaceSamples(NamedTuple):
    """Points on a surface.

    points: [P, 3] float64.
    face: [P] int64; the triangle that contains points[p].
    """

    points: Tensor
    face: Tensor


def sample_surface(surface: Triangles, n_points: int, seed: int = 0) -> SurfaceSamples:
    """Sample `n_points` points evenly by area, the same for the same seed; on the CPU.

    Stratified sampling: the cumulative area of the faces is divided into n_points equal strata with one random point
    each. Every part of the surface gets its share to within one point, so averages over the points vary little with
    the seed. Inside a triangle points are uniform (Osada et al., "Shape distributions" 2002, equation 1).
    Raises ShapeError if n_points is negative or no triangle has an area.
    """
    if n_points < 0:
        raise ShapeError(f"sample_surface: n_points must be at least 0, got {n_points}")
    corners = surface.vertices.detach().cpu().double()[surface.faces.cpu()]
    a, b, c = corners.unbind(1)
    area = torch.linalg.cross(b - a, c - a, dim=-1).norm(dim=-1)
    total = area.cumsum(0)
    if not (len(total) and bool(total[-1] > 0)):
        raise ShapeError(f"sample_surface: none of the {len(total)} triangles has an area to sample")
    generator = torch.Generator().manual_seed(seed)
    along, u, v = torch.rand((3, n_points), generator=generator, dtype=torch.float64)
    position = (torch.arange(n_points) + along) / max(n_points, 1) * total[-1]
    # The first face whose end is beyond the position, so never one without area. Rounding may reach the very end.
    last = int((area > 0).nonzero()[-1])
    face = torch.searchsorted(total, position, right=True).clamp_max(last)
    root = u.sqrt()[:, None]
    v = v[:, None]
    return SurfaceSamples((1 - root) * a[face] + root * (1 - v) * b[face] + root * v * c[face], face)
