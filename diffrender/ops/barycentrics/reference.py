"""Barycentric coordinates in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor


def forward(verts_hom: Tensor, faces: Tensor, view: Tensor, face_id: Tensor, xy_px: Tensor) -> Tensor:
    """See op.barycentrics."""
    corners = verts_hom[view[:, None], faces[face_id]]
    # Coordinates relative to the point, so that nothing large cancels: x' = x w - px w.
    x = corners[..., 0] - xy_px[:, :1] * corners[..., 2]
    y = corners[..., 1] - xy_px[:, 1:] * corners[..., 2]
    edge = x.roll(-1, 1) * y.roll(-2, 1) - x.roll(-2, 1) * y.roll(-1, 1)
    total = edge.sum(1, keepdim=True)
    degenerate = total == 0
    return torch.where(degenerate, 0, edge / total.where(~degenerate, 1))
