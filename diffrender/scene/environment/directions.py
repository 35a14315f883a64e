"""Directions all around: evenly spread, and as a lat-long map has them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Directions that stand for a smooth sky; the mean of a cosine lobe over them is right to a thousandth.
EVEN_DIRECTIONS = 1024
# Directions nearer to a pole than this have the longitude of no direction at all, and no derivative of it.
NEAREST_POLE = 1e-6


def even_directions(like: Tensor) -> Tensor:
    """[S, 3] unit directions that stand for equal parts of the sphere (a Fibonacci spiral), as `like` in kind."""
    index = torch.arange(EVEN_DIRECTIONS, dtype=torch.float64) + 0.5
    y = 1 - 2 * index / EVEN_DIRECTIONS
    angle = index * math.pi * (1 + math.sqrt(5))
    across = (1 - y * y).sqrt()
    return torch.stack([across * angle.cos(), y, across * angle.sin()], 1).to(like.device, like.dtype)


def solid_angles(directions: Tensor) -> Tensor:
    """[1, S, 1]: the solid angle that each of S even directions [S, 3] stands for."""
    return directions.new_full((1, len(directions), 1), 4 * math.pi / len(directions))


def map_directions(height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Of a lat-long map's texels, row by row: unit directions [H W, 3] of their centres, solid angles [H W].

    Row 0 is around +y. The middle of the map is at +x, and to the right of it is +z: what one sees, upright and not
    mirrored, standing inside; as Blender and glTF viewers have it.
    """
    polar = math.pi * torch.arange(height + 1, dtype=torch.float64) / height
    middle = (polar[1:] + polar[:-1]) / 2
    longitude = 2 * math.pi * ((torch.arange(width, dtype=torch.float64) + 0.5) / width - 0.5)
    across = middle.sin()[:, None]
    y = middle.cos()[:, None].expand(height, width)
    directions = torch.stack([across * longitude.cos(), y, across * longitude.sin()], -1)
    band = (polar[:-1].cos() - polar[1:].cos()) * 2 * math.pi / width
    kind = {"device": like.device, "dtype": like.dtype}
    return directions.reshape(-1, 3).to(**kind), band.repeat_interleave(width).to(**kind)


def map_places(directions: Tensor) -> tuple[Tensor, Tensor]:
    """(u, v) [M] in 0..1 of unit directions [M, 3] in a lat-long map; the inverse of `map_directions`."""
    x, y, z = directions.unbind(-1)
    across = (x * x + z * z).clamp_min(NEAREST_POLE**2).sqrt()
    is_pole = x.abs() + z.abs() < NEAREST_POLE
    longitude = torch.atan2(z, x.where(~is_pole, 1))
    return longitude / (2 * math.pi) + 0.5, torch.atan2(across, y) / math.pi
