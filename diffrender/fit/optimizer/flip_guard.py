"""Flip guard: damp vertex steps that would flip faces."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.geometry.normals import face_normals

# Each round halves the steps that still flip a face; the last two rounds set them to zero instead.
ROUNDS = 5
# Faces below this share of the mean area are not checked: rounding alone can flip them.
SLIVER = 1e-6


class DampedStep(NamedTuple):
    """The result of damping a step.

    latent: [V, 3] after the damped step.
    vertices: [V, 3] the vertices of `latent`.
    damped: number of rows of the latent whose step was shortened.
    flipped: number of faces that the step still flips.
    """

    latent: Tensor
    vertices: Tensor
    damped: int
    flipped: int


@torch.no_grad()
def damp_flipping_steps(
    before: Tensor, after: Tensor, value_of: Callable[[Tensor], Tensor], faces: Tensor
) -> DampedStep:
    """Shorten the step of a latent from `before` to `after`, both [V, 3], where it would flip a face.

    value_of: maps the latent to the vertices [V, 3]. The step is shortened in the latent, not in the vertices: under a
        smoothing map, vertices that stop next to others that move would need a latent that is far from smooth.
    faces: [F, 3] int64. A step flips a face if it turns its normal by more than 90 degrees.

    Returns `after` itself, the same tensor, if nothing is damped.
    """
    normal = face_normals(value_of(before), faces)
    area = normal.norm(dim=1)
    least = SLIVER * area.mean()
    scale: Tensor | None = None
    latent, vertices = after, value_of(after)
    flipped = _find_flipped(normal, area, vertices, faces, least)
    for halving in range(ROUNDS):
        touched = faces[flipped].reshape(-1)
        if not len(touched):
            break
        scale = torch.ones_like(before[:, :1]) if scale is None else scale
        scale[touched.unique()] *= 0.5 if halving < ROUNDS - 2 else 0.0
        latent = before + scale * (after - before)
        vertices = value_of(latent)
        flipped = _find_flipped(normal, area, vertices, faces, least)
    damped = 0 if scale is None else int((scale < 1).sum())
    return DampedStep(latent, vertices, damped, int(flipped.sum()))


def _find_flipped(normal: Tensor, area: Tensor, vertices: Tensor, faces: Tensor, least: Tensor) -> Tensor:
    return ((normal * face_normals(vertices, faces)).sum(1) < 0) & (area > least)
