"""Turn cameras about their own centres."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.scene.cameras import Cameras


def turns_between_pixels(cameras: Cameras, seen_px: Tensor, wanted_px: Tensor) -> Tensor:
    """Return rotation vectors [N, 3] in camera axes: turned by them, each camera sees at `wanted_px` what was at
    `seen_px`, both [N, 2].
    """
    seen, wanted = (
        (cameras.cam_from_world[:, :3, :3] @ cameras.rays(px[:, None])[1].mT)[..., 0] for px in (seen_px, wanted_px)
    )
    axis = torch.linalg.cross(seen, wanted)
    sine = axis.norm(dim=1, keepdim=True)
    return axis * torch.atan2(sine, (seen * wanted).sum(1, keepdim=True)) / sine.clamp_min(1e-12)


def turn_cameras(cameras: Cameras, turns: Tensor) -> Cameras:
    """Return `cameras` turned about their centres by rotation vectors [N, 3] in camera axes."""
    rotation = axis_angle_to_matrix(turns)
    turned = torch.cat([rotation @ cameras.cam_from_world[:, :3], cameras.cam_from_world[:, 3:]], 1)
    return replace(cameras, cam_from_world=turned)
