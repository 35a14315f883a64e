"""Normals of faces and vertices."""

from __future__ import annotations

import torch
from torch import Tensor

# A face less high than this fraction of its length has no normal of its own, and neither has a vertex whose faces'
# normals cancel down to this fraction: float32 does not tell positions so precisely, and the derivative of the
# direction grows without bound.
LEAST_SHARE = 1e-8


def face_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Return [F, 3] normals as long as twice the area, outwards for counter-clockwise faces; zero if degenerate."""
    return torch.linalg.cross(*_sides(vertices, faces))


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Return [V, 3] unit normals, the area-weighted mean of the faces around each vertex; zero where there is none.

    Differentiable in vertices, with a finite gradient at degenerate faces. Summed in float64: the fourth powers of edge
    lengths that are compared here leave the range of float32 for edges of 1e-12 and 1e10.
    """
    precise = vertices.double()
    first, second = _sides(precise, faces)
    normals = torch.linalg.cross(first, second)
    corner_vertex = faces.reshape(-1)
    with torch.no_grad():
        size = first.square().sum(1, keepdim=True) + second.square().sum(1, keepdim=True)
        area = torch.linalg.vector_norm(normals, dim=1, keepdim=True)
        area = area.where(area > LEAST_SHARE * size, 0)
        total = torch.zeros_like(precise[:, :1]).index_add(0, corner_vertex, area.repeat_interleave(3, 0))
    normals = normals.where(area > 0, 0)
    summed = torch.zeros_like(precise).index_add(0, corner_vertex, normals.repeat_interleave(3, 0))
    length = torch.linalg.vector_norm(summed, dim=1, keepdim=True)
    is_sound = length > LEAST_SHARE * total
    return (summed / length.where(is_sound, 1)).where(is_sound, 0).to(vertices.dtype)


def _sides(vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sides of each face from its first corner to the second and to the third."""
    corners = vertices.index_select(0, faces.reshape(-1)).reshape(len(faces), 3, 3)
    return corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
