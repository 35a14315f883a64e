"""The op `screen_uvs`: contract, checks, choice of implementation, autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffrender.checks import check_float, check_index, check_same_device, check_same_dtype, check_shape
from diffrender.ops.backend import implementation


def screen_uvs(
    uvs: Tensor,
    uv_faces: Tensor,
    face_id: Tensor,
    verts_hom: Tensor,
    scene_faces: Tensor,
    scene_face_id: Tensor,
    view: Tensor,
    xy_px: Tensor,
    *,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Texture coordinates [M, 2] at points of the image, and their derivatives [M, 2, 2] by the place there.

    `derivatives[m, i, j]` is d uv_i / d pixel_j (x, y) at point m, along the plane of its face, in closed form. Where a
    face is seen nearly edge-on they are held within 1e4, with zero gradient; exactly edge-on all is zero.
    Differentiable in uvs and in verts_hom (columns x w, y w, w).

    uvs: [T, 2] float32 or float64; uv_faces: [F, 3] int64 into them; face_id: [M] int64.
    verts_hom: [N, V, 4] homogeneous pixel coordinates; scene_faces: [F', 3] int64 into them; scene_face_id: [M] int64.
        The same faces as above, corner by corner, in the numbering of the whole scene.
    view: [M] int64; xy_px: [M, 2] (x, y) in pixels.
    Source: Heckbert & Moreton 1991, "Interpolation for polygon texture mapping and shading".
    """
    check_shape("screen_uvs", "uvs", uvs, ("T", 2))
    check_float("screen_uvs", "uvs", uvs)
    check_shape("screen_uvs", "uv_faces", uv_faces, ("F", 3))
    check_shape("screen_uvs", "face_id", face_id, ("M",))
    check_shape("screen_uvs", "verts_hom", verts_hom, ("N", "V", 4))
    check_shape("screen_uvs", "scene_faces", scene_faces, ("F", 3))
    check_shape("screen_uvs", "scene_face_id", scene_face_id, (len(face_id),))
    check_shape("screen_uvs", "view", view, (len(face_id),))
    check_shape("screen_uvs", "xy_px", xy_px, (len(face_id), 2))
    indices = {"uv_faces": uv_faces, "face_id": face_id, "scene_faces": scene_faces, "scene_face_id": scene_face_id}
    indices["view"] = view
    for name, index in indices.items():
        check_index("screen_uvs", name, index)
    floats = {"uvs": uvs, "verts_hom": verts_hom, "xy_px": xy_px}
    check_same_device("screen_uvs", **floats, **indices)
    check_same_dtype("screen_uvs", **floats)
    name, module = implementation("screen_uvs", uvs.device, backend)
    arguments = (uvs, uv_faces, face_id, verts_hom, scene_faces, scene_face_id, view, xy_px)
    if name == "reference":
        return module.forward(*arguments)
    return _TexturePlaces.apply(module, *arguments)  # type: ignore[return-value]


class _TexturePlaces(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, module: Any, *arguments: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(*arguments)
        ctx.module = module
        return module.forward(*arguments)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_uv: Tensor, grad_derivatives: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        wants_uvs, wants_verts = ctx.needs_input_grad[1], ctx.needs_input_grad[4]
        grads = ctx.module.backward(grad_uv, grad_derivatives, *ctx.saved_tensors, wants_uvs, wants_verts)
        return None, grads[0], None, None, grads[1], None, None, None, None
