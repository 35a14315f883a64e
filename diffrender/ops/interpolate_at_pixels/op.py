"""Interpolate values of vertices at points of the image."""

from __future__ import annotations

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.ops.differentiable import run_differentiable


def interpolate_at_pixels(
    values: Tensor,
    faces: Tensor,
    face_id: Tensor,
    verts_hom: Tensor,
    scene_faces: Tensor,
    scene_face_id: Tensor,
    view: Tensor,
    xy_px: Tensor,
    *,
    backend: str | None = None,
) -> Tensor:
    """Interpolate values of vertices at points of the image, [M, C]: `barycentrics` and `interpolate` in one.

    The barycentric coordinates themselves are never stored. Differentiable in values and in verts_hom (columns x w,
    y w, w); a face that the point's ray runs along gives zeros, with zero gradient.

    values: [V, C]; faces: [F, 3] int64 into them; face_id: [M] int64.
    verts_hom: [N, V', 4] homogeneous pixel coordinates; scene_faces: [F', 3] int64 into them.
    scene_face_id: [M] int64. The same faces as face_id, corner by corner, in the numbering of the whole scene.
    view: [M] int64; xy_px: [M, 2] (x, y) in pixels.
    """
    check_tensors(
        "interpolate_at_pixels",
        values=(values, "V C"),
        faces=(faces, "int64: F 3"),
        face_id=(face_id, "int64: M"),
        verts_hom=(verts_hom, "N V' 4"),
        scene_faces=(scene_faces, "int64: F' 3"),
        scene_face_id=(scene_face_id, "int64: M"),
        view=(view, "int64: M"),
        xy_px=(xy_px, "M 2"),
    )
    return run_differentiable(
        "interpolate_at_pixels", backend, values, faces, face_id, verts_hom, scene_faces, scene_face_id, view, xy_px
    )
