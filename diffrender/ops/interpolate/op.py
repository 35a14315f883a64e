"""Interpolate values of vertices at points on faces."""

from __future__ import annotations

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.ops.differentiable import run_differentiable


def interpolate(values: Tensor, faces: Tensor, face_id: Tensor, bary: Tensor, *, backend: str | None = None) -> Tensor:
    """Interpolate values of vertices at points on faces.

    [M, C]: out[m] = sum over corners c of bary[m, c] values[faces[face_id[m], c]]. Differentiable in values and bary.

        normals = interpolate(vertex_normals, faces, face_id, bary)             # [M, 3], not of unit length

    values: [V, C] of each vertex, float32 or float64. Colours, normals, positions: anything that is linear over a face.
    faces: [F, 3] int64 into V. Other faces than those that were rasterized serve as well, if they are numbered alike:
        texture coordinates have faces of their own.
    face_id: [M] int64; -1 is not allowed, as in `barycentrics`.
    bary: [M, 3] weights of the corners, as from `barycentrics`.
    backend: None for the device's own (Numba on the CPU, Triton on CUDA), "numba", "triton" or "reference".

    Raises ShapeError for shapes, dtypes or devices that do not agree.
    """
    check_tensors(
        "interpolate",
        values=(values, "V C"),
        faces=(faces, "int64: F 3"),
        face_id=(face_id, "int64: M"),
        bary=(bary, "M 3"),
    )
    return run_differentiable("interpolate", backend, values, faces, face_id, bary)
