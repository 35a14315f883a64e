"""Signed volumes of the tetrahedra between a point and each face of a mesh."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numba import njit
from torch import Tensor

from diffrender.derivatives import constant
from diffrender.threads import parallel_for

# Minimum number of faces per thread.
GRAIN = 8192


@njit(nogil=True, cache=True)
def _measure(start, end, points, faces, x, y, z, volumes):
    """Set volumes[start:end], six times those of the tetrahedra from the first corner of the first face."""
    first = faces[0, 0]
    ox, oy, oz = np.float64(points[first, x]), np.float64(points[first, y]), np.float64(points[first, z])
    for f in range(start, end):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az = points[i, x] - ox, points[i, y] - oy, points[i, z] - oz
        bx, by, bz = points[j, x] - ox, points[j, y] - oy, points[j, z] - oz
        cx, cy, cz = points[k, x] - ox, points[k, y] - oy, points[k, z] - oz
        volumes[f] = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)


def signed_volumes(points: Tensor, faces: Tensor, axes: Sequence[int] = (0, 1, 2)) -> Tensor:
    """Return six times the volume [F] float64 between each face and one corner, positive if its front looks away.

    points: [V, 3], or more columns, of which `axes` are x, y and z. faces: [F, 3] int64, their corners.
    """
    points, faces = constant(points), constant(faces)
    if points.device.type != "cpu":
        corners = torch.stack([points[:, axis] for axis in axes], 1).double()[faces]
        a, b, c = (corners - corners[:1, :1]).unbind(1)
        return (a * torch.linalg.cross(b, c)).sum(1)
    volumes = torch.empty(len(faces), dtype=torch.float64, device="cpu")
    arrays = (tensor.contiguous().numpy() for tensor in (points, faces))
    parallel_for(_measure, len(faces), GRAIN, *arrays, *axes, volumes.numpy())
    return volumes
