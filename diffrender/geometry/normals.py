"""Face and vertex normals."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.derivatives import without_derivatives

# Faces whose height is below this fraction of their length have no normal, and neither do vertices whose faces' normals
# cancel down to LEAST_SUM: float32 positions are not that precise, and the direction's derivative is unbounded.
LEAST_SHARE = 1e-8
LEAST_SUM = 1e-5


def face_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Return normals [F, 3] of length 2 x area, outwards for counter-clockwise faces; zero for degenerate ones."""
    return torch.linalg.cross(*_sides(vertices, faces))


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Return unit normals [V, 3]: the area-weighted mean of the face normals around each vertex; zero if undefined.

    Differentiable in vertices, with a finite gradient at degenerate faces. Summed in float64: the fourth powers of edge
    lengths compared here exceed the range of float32 for edges of 1e-12 and 1e10.
    """
    return group_normals(vertices, faces, faces, len(vertices))


def group_normals(vertices: Tensor, faces: Tensor, groups: Tensor, n_groups: int) -> Tensor:
    """Return unit normals [n_groups, 3]: as `vertex_normals`, over the corners of each group instead of each vertex.

    groups: [F, 3] int64, the group of each corner, below n_groups (geometry.smoothing_groups).
    """
    precise = vertices.double()
    first, second = _sides(precise, faces)
    normals = torch.linalg.cross(first, second)
    corner_group = groups.reshape(-1)
    with without_derivatives():
        size = first.square().sum(1, keepdim=True) + second.square().sum(1, keepdim=True)
        area = torch.linalg.vector_norm(normals, dim=1, keepdim=True)
        area = area.where(area > LEAST_SHARE * size, 0)
        total = precise.new_zeros(n_groups, 1).index_add(0, corner_group, area.repeat_interleave(3, 0))
    normals = normals.where(area > 0, 0)
    summed = precise.new_zeros(n_groups, 3).index_add(0, corner_group, normals.repeat_interleave(3, 0))
    length = torch.linalg.vector_norm(summed, dim=1, keepdim=True)
    is_defined = length > LEAST_SUM * total
    return (summed / length.where(is_defined, 1)).where(is_defined, 0).to(vertices.dtype)


def _sides(vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Return the vectors from the first corner of each face to the second and to the third."""
    corners = vertices.index_select(0, faces.reshape(-1)).reshape(len(faces), 3, 3)
    return corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
