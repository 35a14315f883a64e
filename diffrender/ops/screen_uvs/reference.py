"""Texture coordinates and their derivatives in plain PyTorch. Arithmetic in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.ops.screen_uvs.op import LARGEST


def forward(
    uvs: Tensor,
    uv_faces: Tensor,
    face_id: Tensor,
    verts_hom: Tensor,
    scene_faces: Tensor,
    scene_face_id: Tensor,
    view: Tensor,
    xy_px: Tensor,
) -> tuple[Tensor, Tensor]:
    """See op.screen_uvs."""
    corners = verts_hom[view[:, None], scene_faces[scene_face_id], :3].double()
    # Counted from the point itself, which is then (0, 0, 1).
    origin = torch.nn.functional.pad(xy_px.double(), (0, 1))[:, None, :]
    a, b, c = (corners - origin * corners[..., 2:]).unbind(1)
    lines = torch.stack([torch.linalg.cross(p, q) for p, q in ((b, c), (c, a), (a, b))], 1)
    uv_lines = torch.einsum("mci,mcj->mij", uvs[uv_faces[face_id]].double(), lines)
    one_lines = lines.sum(1)[:, None, :]
    total = one_lines[..., 2:]
    is_edge_on = total == 0
    scale = torch.where(is_edge_on, 0, 1 / total.where(~is_edge_on, 1))
    uv = uv_lines[..., 2:] * scale
    derivatives = (uv_lines[..., :2] - uv * one_lines[..., :2]) * scale
    return uv[..., 0].to(uvs.dtype), derivatives.clamp(-LARGEST, LARGEST).to(uvs.dtype)
