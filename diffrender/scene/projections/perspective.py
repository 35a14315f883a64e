"""Perspective: the pinhole camera."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.scene.projection import Rectilinear


@dataclass(frozen=True)
class Perspective(Rectilinear):
    """The pinhole camera: (x, y) / z on the image plane; `focal_px` is the focal length in pixels."""

    def from_image_plane(self, xy: Tensor, depth: Tensor) -> Tensor:
        """Return (x, y, 1) times the depth."""
        return torch.cat([xy * depth, depth], -1)

    def screen_depth(self, depth: Tensor) -> Tensor:
        """Return -1 / depth."""
        return -1 / depth

    def screen_depth_step(self, depth: Tensor, step: Tensor) -> Tensor:
        """Return step / depth^2."""
        return step / depth**2

    def plane_slope(
        self, points_c: Tensor, normals_c: Tensor, depth: Tensor, focal_px: Tensor, steepest: float
    ) -> tuple[Tensor, Tensor]:
        """Solve n . X = n . point, the plane's equation, with X = depth (x, y, 1)."""
        distance = points_c.norm(dim=1)
        facing = -(normals_c * points_c).sum(1) / distance.clamp_min(1e-20)
        to_plane = (facing * distance).clamp_min(1e-6 * depth)
        limit = steepest / (focal_px * depth)[:, None]
        return facing, (normals_c[:, :2] / (to_plane * focal_px)[:, None]).clamp(-limit, limit)
