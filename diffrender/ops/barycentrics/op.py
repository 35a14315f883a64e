"""Locate points of the image on given faces: smooth in the vertices."""

from __future__ import annotations

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.ops.differentiable import run_differentiable


def barycentrics(
    verts_hom: Tensor, faces: Tensor, view: Tensor, face_id: Tensor, xy_px: Tensor, *, backend: str | None = None
) -> Tensor:
    """Return perspective-correct barycentric coordinates [M, 3] of points of the image on given faces; they sum to 1.

    With e_i the edge function opposite corner i at the point, b_i = e_i / (e_0 + e_1 + e_2). Points outside their face
    get negative coordinates; a face that the point's ray runs along gets zeros, with zero gradient.

    Differentiable in verts_hom (columns x w, y w, w): the gradient tells how the surface slides under a fixed point of
    the image. It does not tell that another face comes into sight: that is the part of `antialias`.

        raster = rasterize(verts_hom, faces, height, width)
        view, i, j = torch.nonzero(raster.face_id[..., 0] >= 0, as_tuple=True)
        xy_px = torch.stack([j, i], 1).to(verts_hom.dtype) + 0.5
        bary = barycentrics(verts_hom, faces, view, raster.face_id[view, i, j, 0], xy_px)

    verts_hom: [N, V, 4] homogeneous pixel coordinates (x w, y w, w, depth), float32 or float64.
    faces: [F, 3] int64 into V.
    view, face_id: [M] int64; point m is seen in view[m] on faces[face_id[m]]. Drop the -1 of pixels that see nothing
        first: indices are not checked, and it would count from the end.
    xy_px: [M, 2] (x, y) in pixels, the centre of pixel (row i, column j) at (j + 0.5, i + 0.5).
    backend: None for the device's own (Numba on the CPU, Triton on CUDA), "numba", "triton" or "reference".

    Only interpolated values are wanted, not the coordinates? `interpolate_at_pixels` is quicker.
    Raises ShapeError for shapes, dtypes or devices that do not agree.
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
