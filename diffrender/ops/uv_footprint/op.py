"""The op `uv_footprint`: contract, checks, choice of implementation, autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffrender.checks import check_float, check_index, check_same_device, check_same_dtype, check_shape
from diffrender.ops.backend import implementation


def uv_footprint(
    verts_hom: Tensor,
    faces: Tensor,
    uvs: Tensor,
    uv_faces: Tensor,
    view: Tensor,
    face_id: Tensor,
    bary: Tensor,
    *,
    backend: str | None = None,
) -> Tensor:
    """[M, 2, 2] derivatives of texture coordinates by the place in the image: `[m, i, j]` is d uv_i / d pixel_j (x, y)
    at point m, along the plane of its face, in closed form.

    Where a face is seen nearly edge-on they are held within 1e4, with zero gradient; exactly edge-on they are zero.
    Differentiable in verts_hom (columns x w, y w, w), uvs and bary.

    verts_hom: [N, V, 4] homogeneous pixel coordinates, float32 or float64; faces: [F, 3] int64.
    uvs: [T, 2], dtype of verts_hom; uv_faces: [F, 3] int64.
    view, face_id: [M] int64; point m is seen in view[m] on faces[face_id[m]].
    bary: [M, 3] its perspective-correct barycentric coordinates.
    Source: Heckbert & Moreton 1991, "Interpolation for polygon texture mapping and shading".
    """
    check_shape("uv_footprint", "verts_hom", verts_hom, ("N", "V", 4))
    check_float("uv_footprint", "verts_hom", verts_hom)
    check_shape("uv_footprint", "faces", faces, ("F", 3))
    check_shape("uv_footprint", "uvs", uvs, ("T", 2))
    check_shape("uv_footprint", "uv_faces", uv_faces, (len(faces), 3))
    check_shape("uv_footprint", "face_id", face_id, ("M",))
    check_shape("uv_footprint", "view", view, (len(face_id),))
    check_shape("uv_footprint", "bary", bary, (len(face_id), 3))
    for name, index in (("faces", faces), ("uv_faces", uv_faces), ("face_id", face_id), ("view", view)):
        check_index("uv_footprint", name, index)
    tensors = {"verts_hom": verts_hom, "uvs": uvs, "bary": bary}
    check_same_device("uv_footprint", **tensors, faces=faces, uv_faces=uv_faces, view=view, face_id=face_id)
    check_same_dtype("uv_footprint", **tensors)
    name, module = implementation("uv_footprint", verts_hom.device, backend)
    if name == "reference":
        return module.forward(verts_hom, faces, uvs, uv_faces, view, face_id, bary)
    return _UvFootprint.apply(verts_hom, faces, uvs, uv_faces, view, face_id, bary, module)  # type: ignore[return-value]


class _UvFootprint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        *tensors, module = arguments
        ctx.save_for_backward(*tensors)
        ctx.module = module
        return module.forward(*tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        wants_verts, _, wants_uvs, _, _, _, wants_bary, _ = ctx.needs_input_grad
        grads = ctx.module.backward(grad, *ctx.saved_tensors, wants_verts, wants_uvs, wants_bary)
        return grads[0], None, grads[1], None, None, None, grads[2], None
