"""Points under affine maps in plain PyTorch."""

from __future__ import annotations

from torch import Tensor


def forward(points: Tensor, matrices: Tensor) -> Tensor:
    """See op.transform_points."""
    columns = matrices[:, None].unbind(-1)  # 4 x [N, 1, K]
    x, y, z = points[:, :, None].unbind(1)
    return x * columns[0] + y * columns[1] + z * columns[2] + columns[3]
