"""The op `barycentrics`: contract, checks, choice of implementation, autograd."""

from __future__ import annotations

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.ops.differentiable import run_differentiable


def barycentrics(
    verts_hom: Tensor, faces: Tensor, view: Tensor, face_id: Tensor, xy_px: Tensor, *, backend: str | None = None
) -> Tensor:
    """Perspective-correct barycentric coordinates [M, 3] of points of the image on given faces; they sum to 1.

    With e_i the edge function opposite corner i at the point, b_i = e_i / (e_0 + e_1 + e_2). Points outside their face
    get negative coordinates; a face that the point's ray runs along gets zeros, with zero gradient.
    Differentiable in verts_hom (columns x w, y w, w).

    verts_hom: [N, V, 4] homogeneous pixel coordinates, float32 or float64.
    faces: [F, 3] int64.
    view, face_id: [M] int64; point m is seen in view[m] on faces[face_id[m]].
    xy_px: [M, 2] (x, y) in pixels, same dtype as verts_hom.
    Source: Olano & Greer 1997.
    """
    check_tensors(
        "barycentrics",
        verts_hom=(verts_hom, "N V 4"),
        faces=(faces, "int64: F 3"),
        view=(view, "int64: M"),
        face_id=(face_id, "int64: M"),
        xy_px=(xy_px, "M 2"),
    )
    return run_differentiable("barycentrics", backend, verts_hom, faces, view, face_id, xy_px)
