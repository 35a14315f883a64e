"""Derivatives of texture coordinates in plain PyTorch. Arithmetic in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.ops.uv_footprint.limits import LARGEST


def forward(
    verts_hom: Tensor, faces: Tensor, uvs: Tensor, uv_faces: Tensor, view: Tensor, face_id: Tensor, bary: Tensor
) -> Tensor:
    """See op.uv_footprint."""
    corners = verts_hom[view[:, None], faces[face_id], :3].double()
    corner_uv, bary = uvs[uv_faces[face_id]].double(), bary.double()
    a, b, c = corners.unbind(1)
    lines = torch.stack([torch.linalg.cross(p, q) for p, q in ((b, c), (c, a), (a, b))], 1)
    det = (a * lines[:, 0]).sum(1)[:, None, None]
    slopes = torch.where(det == 0, 0, lines[..., :2] / det.where(det != 0, 1))
    uv_over_w = torch.einsum("mci,mcj->mij", corner_uv, slopes)
    one_over_w = slopes.sum(1)
    uv = torch.einsum("mci,mc->mi", corner_uv, bary)
    w = (corners[..., 2] * bary).sum(1)
    derivatives = w[:, None, None] * (uv_over_w - uv[:, :, None] * one_over_w[:, None, :])
    return derivatives.clamp(-LARGEST, LARGEST).to(verts_hom.dtype)
