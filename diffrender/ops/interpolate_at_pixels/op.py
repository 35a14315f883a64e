"""The op `interpolate_at_pixels`: contract, checks, choice of implementation, autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffrender.checks import check_float, check_index, check_same_device, check_same_dtype, check_shape
from diffrender.ops.backend import implementation


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
    """Values of vertices [M, C] at points of the image: `barycentrics` and `interpolate` in one.

    The barycentric coordinates themselves are never stored. Differentiable in values and in verts_hom (columns x w,
    y w, w); a face that the point's ray runs along gives zeros, with zero gradient.

    values: [V, C]; faces: [F, 3] int64 into them; face_id: [M] int64.
    verts_hom: [N, V', 4] homogeneous pixel coordinates; scene_faces: [F', 3] int64 into them; scene_face_id: [M] int64.
        The same faces as above, corner by corner, in the numbering of the whole scene.
    view: [M] int64; xy_px: [M, 2] (x, y) in pixels.
    """
    check_shape("interpolate_at_pixels", "values", values, ("V", "C"))
    check_float("interpolate_at_pixels", "values", values)
    check_shape("interpolate_at_pixels", "faces", faces, ("F", 3))
    check_index("interpolate_at_pixels", "faces", faces)
    check_shape("interpolate_at_pixels", "face_id", face_id, ("M",))
    check_index("interpolate_at_pixels", "face_id", face_id)
    check_shape("interpolate_at_pixels", "verts_hom", verts_hom, ("N", "V", 4))
    check_shape("interpolate_at_pixels", "scene_faces", scene_faces, ("F", 3))
    check_index("interpolate_at_pixels", "scene_faces", scene_faces)
    check_shape("interpolate_at_pixels", "scene_face_id", scene_face_id, (len(face_id),))
    check_index("interpolate_at_pixels", "scene_face_id", scene_face_id)
    check_shape("interpolate_at_pixels", "view", view, (len(face_id),))
    check_index("interpolate_at_pixels", "view", view)
    check_shape("interpolate_at_pixels", "xy_px", xy_px, (len(face_id), 2))
    check_same_device(
        "interpolate_at_pixels", values=values, faces=faces, face_id=face_id, verts_hom=verts_hom, view=view
    )
    check_same_dtype("interpolate_at_pixels", values=values, verts_hom=verts_hom, xy_px=xy_px)
    name, module = implementation("interpolate_at_pixels", values.device, backend)
    arguments = (values, faces, face_id, verts_hom, scene_faces, scene_face_id, view, xy_px)
    if name == "reference":
        return module.forward(*arguments)
    return _Attributes.apply(module, *arguments)  # type: ignore[return-value]


class _Attributes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, module: Any, *arguments: Tensor) -> Tensor:
        ctx.save_for_backward(*arguments)
        ctx.module = module
        return module.forward(*arguments)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        wants_values, wants_verts = ctx.needs_input_grad[1], ctx.needs_input_grad[4]
        grad_values, grad_verts = ctx.module.backward(grad_out, *ctx.saved_tensors, wants_values, wants_verts)
        return None, grad_values, None, None, grad_verts, None, None, None, None
