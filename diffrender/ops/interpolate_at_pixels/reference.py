"""Barycentric coordinates, then interpolation, in plain PyTorch."""

from __future__ import annotations

from torch import Tensor

from diffrender.ops.barycentrics.reference import forward as barycentrics
from diffrender.ops.interpolate.reference import forward as interpolate


def forward(
    values: Tensor,
    faces: Tensor,
    face_id: Tensor,
    verts_hom: Tensor,
    scene_faces: Tensor,
    scene_face_id: Tensor,
    view: Tensor,
    xy_px: Tensor,
) -> Tensor:
    """See op.interpolate_at_pixels."""
    bary = barycentrics(verts_hom, scene_faces, view, scene_face_id, xy_px)
    return interpolate(values, faces, face_id, bary)
