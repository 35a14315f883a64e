"""Map points by affine maps."""

from __future__ import annotations

from torch import Tensor

from diffrender.checks import check_tensors
from diffrender.ops.differentiable import run_differentiable


def transform_points(points: Tensor, matrices: Tensor, *, backend: str | None = None) -> Tensor:
    """Map every point by every affine map, whose last column is what it adds; differentiable in both.

        points_c = transform_points(points_w, cam_from_world[:, :3])                # [N, V, 3]

    points: [V, 3] float32 or float64. matrices: [N, K, 4] of the same dtype, K numbers from the three of a point.
    backend: None for the device's own (Numba on the CPU, Triton on CUDA), "numba", "triton" or "reference".

    Returns [N, V, K] in the dtype of `points`. Raises ShapeError for another shape or dtype.
    """
    check_tensors("transform_points", points=(points, "V 3"), matrices=(matrices, "N K 4"))
    return run_differentiable("transform_points", backend, points, matrices)
