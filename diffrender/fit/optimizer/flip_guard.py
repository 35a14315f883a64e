"""Steps of vertices that would turn faces over, shortened."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.geometry.normals import face_normals

# Each round halves the steps that still turn a face over; after the last but one they are taken back altogether.
ROUNDS = 5
# Faces of less than this part of the mean area have no side to speak of: rounding turns them over.
SLIVER = 1e-6


class DampedStep(NamedTuple):
    """A step that was looked at.

    latent: [V, 3] where it leads.
    vertices: [V, 3] the vertices that `latent` stands for.
    damped: how many rows of the latent move less than they were to.
    flipped: how many faces the step turns over nevertheless.
    """

    latent: Tensor
    vertices: Tensor
    damped: int
    flipped: int


@torch.no_grad()
def damp_flipping_steps(
    before: Tensor, after: Tensor, value_of: Callable[[Tensor], Tensor], faces: Tensor
) -> DampedStep:
    """The step of a latent from `before` to `after`, both [V, 3], shortened where it would turn a face over.

    value_of: from the latent to the vertices [V, 3]. It is the latent that is held back, not the vertices: behind a
        smoothing map, vertices that stop beside others that move would need a latent far from all that is smooth.
    faces: [F, 3] int64. A face is turned over where the step turns its normal by more than 90 degrees.

    `after` itself, the same tensor, comes back where nothing is damped.
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
