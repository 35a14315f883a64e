"""Unit normals of vertices, or of other groups of corners."""

from __future__ import annotations

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.errors import ShapeError
from diffrender.ops.differentiable import run_differentiable


def smooth_normals(
    vertices: Tensor, faces: Tensor, normal_faces: Tensor, n_normals: int, *, backend: str | None = None
) -> Tensor:
    """Return unit normals [K, 3]: the area-weighted mean of the normals of the faces about each.

    Zero where no face has a normal, or those of all faces cancel (geometry.normals has the bounds); the gradient is
    zero there as well. Differentiable in vertices.

        normals = smooth_normals(vertices, faces, faces, len(vertices))         # [V, 3]

    vertices: [V, 3] float32 or float64. faces: [F, 3] int64 into V.
    normal_faces: [F, 3] int64, which normal each corner has; of a mesh without hard edges its faces.
    n_normals: K, more than any number in normal_faces.
    backend: None for the device's own (Numba on the CPU, Triton on CUDA), "numba", "triton" or "reference".

    Returns the dtype of `vertices`; sums are in float64. Raises ShapeError for shapes, dtypes or devices that do not
    agree.
    """
    check_tensors(
        "smooth_normals",
        vertices=(vertices, "V 3"),
        faces=(faces, "int64: F 3"),
        normal_faces=(normal_faces, "int64: F 3"),
    )
    if n_normals < 0:
        raise ShapeError(f"smooth_normals: n_normals must be at least 0, got {n_normals}")
    return run_differentiable("smooth_normals", backend, vertices, faces, normal_faces, n_normals)
