"""Poses as files have them: rigid but for their rounding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffrender.geometry.rigid import check_rigid, make_rigid

# How far R R^T may be from the identity: files are often rounded to three digits. `rigid_pose` removes it; from ROUNDED
# on it is worth a note.
RIGID_TOLERANCE, ROUNDED = 5e-3, 2e-4


def rigid_pose(name: str, matrix: Tensor) -> Tensor:
    """Return the rigid motion [4, 4] nearest to `matrix` [3, 4] or [4, 4], float64; removes the rounding of text files.

    Raises ShapeError, which begins with `name`, if it is farther from one than rounding can be.
    """
    if len(matrix) == 3:
        matrix = torch.cat([matrix, matrix.new_tensor([[0.0, 0.0, 0.0, 1.0]])])
    check_rigid("", name, matrix, RIGID_TOLERANCE)
    left, _, right = torch.linalg.svd(matrix[:3, :3])
    return make_rigid(left @ right, matrix[:3, 3])


def note_rounding(matrices: Sequence[Tensor], name: str) -> list[str]:
    """Return a note, if it is worth one, on the rounding of valid `matrices`, [3, 4] or [4, 4], that a file has."""
    off = []
    for matrix in matrices:
        rotation = matrix[:3, :3]
        found = float((rotation @ rotation.T - torch.eye(3, dtype=rotation.dtype)).abs().max())
        if found > ROUNDED:
            off.append(found)
    if not off:
        return []
    which = f"{len(off)} of its {len(matrices)} {name}"
    return [f"{which} are rotations only to {max(off):.1g}; the nearest rotations are used"]
