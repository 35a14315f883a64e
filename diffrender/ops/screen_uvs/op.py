"""Find the texture coordinates that points of the image see, and their derivatives."""

from __future__ import annotations

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.ops.differentiable import run_differentiable

# Derivatives are held within this, in widths of the texture per pixel: far more than any mip level tells apart, far
# less than what overflows when squared.
LARGEST = 1e4


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
    """Return texture coordinates [M, 2] at points of the image, and their derivatives [M, 2, 2] by the position there.

    `derivatives[m, i, j]` is d uv_i / d pixel_j (x, y) at point m, along the plane of its face, in closed form. Where a
    face is seen nearly edge-on they are held within LARGEST, with zero gradient; exactly edge-on all is zero.
    Differentiable in uvs and in verts_hom (columns x w, y w, w).

    uvs: [T, 2] float32 or float64; uv_faces: [F, 3] int64 into them; face_id: [M] int64.
    verts_hom: [N, V, 4] homogeneous pixel coordinates; scene_faces: [F', 3] int64 into them.
    scene_face_id: [M] int64. The same faces as face_id, corner by corner, in the numbering of the whole scene.
    view: [M] int64; xy_px: [M, 2] (x, y) in pixels.
    Source: Heckbert & Moreton 1991, "Interpolation for polygon texture mapping and shading".
    """
    check_tensors(
        "screen_uvs",
        uvs=(uvs, "T 2"),
        uv_faces=(uv_faces, "int64: F 3"),
        face_id=(face_id, "int64: M"),
        verts_hom=(verts_hom, "N V 4"),
        scene_faces=(scene_faces, "int64: F' 3"),
        scene_face_id=(scene_face_id, "int64: M"),
        view=(view, "int64: M"),
        xy_px=(xy_px, "M 2"),
    )
    return run_differentiable(
        "screen_uvs", backend, uvs, uv_faces, face_id, verts_hom, scene_faces, scene_face_id, view, xy_px
    )
