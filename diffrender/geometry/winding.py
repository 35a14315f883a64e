"""Winding numbers: how often a surface encloses a point."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffrender.geometry.primitives import Triangles


def winding_numbers(points: Tensor, surface: Triangles) -> Tensor:
    """Return the winding number [P] of `surface` about each point [P, 3]: 1 inside a closed surface, 0 outside.

    It is -1 inside a surface that is turned inside out, and between for one with holes.
    Source: the solid angle of a triangle of Van Oosterom & Strackee (1983).
    """
    corners = surface.vertices[surface.faces]
    # One point at a time: all of them against all faces would not fit in memory.
    angles = [_solid_angles(corners - point).sum() for point in points]
    return torch.stack(angles) / (4 * math.pi) if angles else points.new_zeros(0)


def _solid_angles(corners: Tensor) -> Tensor:
    """Return the signed solid angle [F] of each triangle [F, 3, 3], seen from the origin."""
    a, b, c = corners.unbind(1)
    length_a, length_b, length_c = corners.norm(dim=-1).unbind(1)
    triple = (a * torch.linalg.cross(b, c, dim=-1)).sum(-1)
    dots = (a * b).sum(-1) * length_c + (b * c).sum(-1) * length_a + (c * a).sum(-1) * length_b
    return 2 * torch.atan2(triple, length_a * length_b * length_c + dots)
