"""Normals of faces and vertices."""

from __future__ import annotations

import torch
from torch import Tensor


def face_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """[F, 3] normals of length twice the area, outwards for counter-clockwise faces; zero for degenerate ones."""
    corners = vertices.index_select(0, faces.reshape(-1)).reshape(-1, 3, 3)
    return torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """[V, 3] unit normals, the area-weighted mean of the faces around each vertex; zero where there is none.

    Differentiable in vertices, with a finite gradient at degenerate faces. Summed in float64: the fourth powers of edge
    lengths that are compared here leave the range of float32 for edges of 1e-12 and 1e10.
    """
    precise = vertices.double()
    normals = face_normals(precise, faces)
    summed = torch.zeros_like(precise).index_add(0, faces.reshape(-1), normals.repeat_interleave(3, 0))
    length = torch.linalg.vector_norm(summed, dim=1, keepdim=True)
    return (summed / length.where(length > 0, 1)).to(vertices.dtype)
