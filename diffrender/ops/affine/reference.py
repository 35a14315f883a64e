"""Affine maps in plain PyTorch."""

from __future__ import annotations

from torch import Tensor


def forward(matrix: Tensor, points: Tensor) -> Tensor:
    """See op.affine."""
    columns = matrix[:, None].unbind(-1)
    x, y, z = points[:, :, None].unbind(1)
    return x * columns[0] + y * columns[1] + z * columns[2] + columns[3]
