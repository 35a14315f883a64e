"""Directions over the sphere: evenly distributed, or those of the texels of a lat-long map."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from diffrender.derivatives import on_plain_tensors
from diffrender.list_sizes import hold

# Number of even directions; the mean of a cosine lobe over them is accurate to one part in a thousand.
EVEN_DIRECTIONS = 1024


def even_directions(like: Tensor) -> Tensor:
    """Return [S, 3] unit directions of equal solid angles (a Fibonacci spiral), in the dtype and device of `like`."""
    index = torch.arange(EVEN_DIRECTIONS, dtype=torch.float64, device="cpu") + 0.5
    y = 1 - 2 * index / EVEN_DIRECTIONS
    angle = index * math.pi * (1 + math.sqrt(5))
    across = (1 - y * y).sqrt()
    return torch.stack([across * angle.cos(), y, across * angle.sin()], 1).to(like.device, like.dtype)


def solid_angles(directions: Tensor) -> Tensor:
    """Return the solid angle of each of S even directions [S, 3]: [1, S, 1]."""
    return directions.new_full((1, len(directions), 1), 4 * math.pi / len(directions))


def map_directions(height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return unit directions [H W, 3] of the texel centres of a lat-long map, row by row, and solid angles [H W].

    Row 0 is around +y, the middle of the map is at +x, and +z is to the right of it: the view from inside, upright and
    not mirrored, as in Blender and glTF viewers.
    """
    # What is computed in inference mode cannot be part of a graph later.
    find = _map_directions.__wrapped__ if torch.is_inference_mode_enabled() else _map_directions
    return hold(find(height, width, like.dtype, like.device))


@lru_cache(maxsize=8)
@on_plain_tensors()
def _map_directions(height: int, width: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    polar = math.pi * torch.arange(height + 1, dtype=torch.float64, device="cpu") / height
    middle = (polar[1:] + polar[:-1]) / 2
    longitude = 2 * math.pi * ((torch.arange(width, dtype=torch.float64, device="cpu") + 0.5) / width - 0.5)
    across = middle.sin()[:, None]
    y = middle.cos()[:, None].expand(height, width)
    directions = torch.stack([across * longitude.cos(), y, across * longitude.sin()], -1)
    band = (polar[:-1].cos() - polar[1:].cos()) * 2 * math.pi / width
    kind = {"device": device, "dtype": dtype}
    return directions.reshape(-1, 3).to(**kind), band.repeat_interleave(width).to(**kind)
