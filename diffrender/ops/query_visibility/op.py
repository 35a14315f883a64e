"""The op `query_visibility`: contract, checks and choice of implementation."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.checks import check_float, check_index, check_same_device, check_shape
from diffrender.ops.backend import implementation
from diffrender.ops.rasterize import FaceBins


def query_visibility(
    verts_hom: Tensor,
    faces: Tensor,
    view: Tensor,
    xy_px: Tensor,
    height: int,
    width: int,
    *,
    bins: FaceBins,
    near: float = 1e-3,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """(face_id, depth), both [Q]: the nearest face at each of Q points of the image, by the rules of `rasterize`.

    face_id is -1 and depth 0 where nothing is. Points outside the image see what has pixels in it along its border.
    Not differentiable: the result is discrete.

    verts_hom: [N, V, 4] homogeneous pixel coordinates; faces: [F, 3] int64.
    view: [Q] int64; xy_px: [Q, 2] (x, y) in pixels, float32 or float64 (depth is of that dtype; places that must
    lie on the right side of an edge by less than a thousandth of a pixel need float64).
    height, width, near, backend, bins: as given to `rasterize`, and from its result.
    """
    check_shape("query_visibility", "verts_hom", verts_hom, ("N", "V", 4))
    check_float("query_visibility", "verts_hom", verts_hom)
    check_shape("query_visibility", "faces", faces, ("F", 3))
    check_index("query_visibility", "faces", faces)
    check_shape("query_visibility", "view", view, ("Q",))
    check_index("query_visibility", "view", view)
    check_shape("query_visibility", "xy_px", xy_px, (len(view), 2))
    check_same_device("query_visibility", verts_hom=verts_hom, faces=faces, view=view, xy_px=xy_px)
    check_float("query_visibility", "xy_px", xy_px)
    _, module = implementation("query_visibility", verts_hom.device, backend)
    with torch.no_grad():
        return module.forward(verts_hom.detach(), faces, view, xy_px, height, width, bins, near)
