"""The op `barycentrics`: contract, checks, choice of implementation, autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffrender.checks import check_float, check_index, check_same_device, check_same_dtype, check_shape
from diffrender.ops.backend import implementation


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
    check_shape("barycentrics", "verts_hom", verts_hom, ("N", "V", 4))
    check_float("barycentrics", "verts_hom", verts_hom)
    check_shape("barycentrics", "faces", faces, ("F", 3))
    check_index("barycentrics", "faces", faces)
    check_shape("barycentrics", "face_id", face_id, ("M",))
    check_index("barycentrics", "face_id", face_id)
    check_shape("barycentrics", "view", view, (len(face_id),))
    check_index("barycentrics", "view", view)
    check_shape("barycentrics", "xy_px", xy_px, (len(face_id), 2))
    check_same_device("barycentrics", verts_hom=verts_hom, faces=faces, view=view, face_id=face_id, xy_px=xy_px)
    check_same_dtype("barycentrics", verts_hom=verts_hom, xy_px=xy_px)
    name, module = implementation("barycentrics", verts_hom.device, backend)
    if name == "reference":
        return module.forward(verts_hom, faces, view, face_id, xy_px)
    return _Barycentrics.apply(verts_hom, faces, view, face_id, xy_px, module)  # type: ignore[return-value]


class _Barycentrics(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, verts_hom: Tensor, faces: Tensor, view: Tensor, face_id: Tensor, xy_px: Tensor, module: Any
    ) -> Tensor:
        ctx.save_for_backward(verts_hom, faces, view, face_id, xy_px)
        ctx.module = module
        return module.forward(verts_hom, faces, view, face_id, xy_px)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_bary: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        return ctx.module.backward(grad_bary, *ctx.saved_tensors), None, None, None, None, None
