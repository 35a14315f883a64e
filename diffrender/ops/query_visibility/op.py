"""Find the nearest face at given points of the image."""

from __future__ import annotations

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.ops.differentiable import run_discrete
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
    part: Tensor | None = None,
    ignored: Tensor | None = None,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Find (face_id, depth), both [Q]: the nearest face at each of Q points of the image, by the rules of `rasterize`.

    face_id is -1 and depth 0 where nothing is. Points outside the image see what has pixels in it along its border.
    Not differentiable: the result is discrete.

    verts_hom: [N, V, 4] homogeneous pixel coordinates; faces: [F, 3] int64.
    view: [Q] int64.
    xy_px: [Q, 2] (x, y) in pixels, float32 or float64 whatever verts_hom is (depth is of that dtype). Points that must
        be on the right side of an edge by less than a thousandth of a pixel need float64.
    height, width, near, backend: as given to `rasterize`; bins: from its result.
    part, ignored: [F] and [Q] int64, given together: point q does not see the faces f with part[f] = ignored[q].
    """
    tensors = {
        "verts_hom": (verts_hom, "N V 4"),
        "faces": (faces, "int64: F 3"),
        "view": (view, "int64: Q"),
        "xy_px": (xy_px, "float: Q 2"),
        "bins.bounds": (bins.bounds, "int16: N F 4"),
        "bins.tile_offset": (bins.tile_offset, "int64: T"),
        "bins.tile_faces": (bins.tile_faces, "int32: L"),
    }
    if part is not None and ignored is not None:
        tensors |= {"part": (part, "int64: F"), "ignored": (ignored, "int64: Q")}
    check_tensors("query_visibility", **tensors)
    if part is None or ignored is None:
        part, ignored = faces.new_zeros(len(faces)), faces.new_full((len(view),), -1)
    return run_discrete(
        "query_visibility", backend, verts_hom, faces, view, xy_px, height, width, bins, near, part, ignored
    )
