"""Unit normals in plain PyTorch."""

from __future__ import annotations

from torch import Tensor

from diffrender.geometry.normals import group_normals


def forward(vertices: Tensor, faces: Tensor, normal_faces: Tensor, n_normals: int) -> Tensor:
    """See op.smooth_normals."""
    return group_normals(vertices, faces, normal_faces, n_normals)
