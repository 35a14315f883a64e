"""Compare poses of cameras that may be in another frame: another origin, other axes, another scale."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.geometry.rigid import invert_rigid
from diffrender.geometry.rotations import nearest_rotations, rotation_angle


class PoseErrors(NamedTuple):
    """angles: [N] in radians. distances: [N] between the cameras' centres, in the world of the true ones."""

    angles: Tensor
    distances: Tensor


def align_cameras(found: Tensor, true: Tensor) -> PoseErrors:
    """Return how far poses `found` are from `true`, both cam_from_world [N, 4, 4], after the best similarity.

    It is that of the centres and of a point ahead of, and one above, each camera, at half their spread: centres on a
    line determine no rotation. Source: S. Umeyama, "Least-squares estimation of transformation parameters between two
    point patterns" (1991).
    """
    ours, theirs = (invert_rigid(pose.double()) for pose in (found, true))
    spread = (theirs[:, :3, 3] - theirs[:, :3, 3].mean(0)).norm(dim=1).mean()
    scale = 1.0
    # Points beside the cameras are as far from them in both frames only once the scale is known.
    for _ in range(3):
        from_points, to_points = _marks(ours, spread / 2 / scale), _marks(theirs, spread / 2)
        a, b = from_points - from_points.mean(0), to_points - to_points.mean(0)
        rotation = nearest_rotations(b.T @ a)
        scale = float((b * (a @ rotation.T)).sum() / a.square().sum())
    shift = to_points.mean(0) - scale * rotation @ from_points.mean(0)
    centers = scale * ours[:, :3, 3] @ rotation.T + shift
    angles = rotation_angle(rotation @ ours[:, :3, :3], theirs[:, :3, :3])
    return PoseErrors(angles, (centers - theirs[:, :3, 3]).norm(dim=1))


def _marks(world_from_cam: Tensor, reach: Tensor) -> Tensor:
    """Return [3 N, 3]: the centres, and points `reach` ahead of and above them."""
    center = world_from_cam[:, :3, 3]
    return torch.cat([center, center + reach * world_from_cam[:, :3, 2], center - reach * world_from_cam[:, :3, 1]])
