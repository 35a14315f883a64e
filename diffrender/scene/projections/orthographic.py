"""Orthographic: the camera of parallel rays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from diffrender.scene.projection import Rectilinear


@dataclass(frozen=True)
class Orthographic(Rectilinear):
    """Parallel rays: (x, y) on the image plane, whatever the depth; focal lengths in pixels per world unit.

    Points behind the plane of the camera's frame are imaged as well, unless `near` clips them there.
    """

    default_near: ClassVar[float] = 0.0

    def from_image_plane(self, xy: Tensor, depth: Tensor) -> Tensor:
        """(x, y, depth)."""
        return torch.cat([xy, depth], -1)

    def scale(self, depth: Tensor) -> Tensor:
        """1 at every depth."""
        return torch.ones_like(depth)

    def directions_to_camera(
        self, points_w: Tensor, eye_w: Tensor, forward_w: Tensor, view: Tensor, backend: str | None = None
    ) -> Tensor:
        """Against the viewing direction, from everywhere."""
        return -forward_w.index_select(0, view)

    def screen_depth(self, depth: Tensor) -> Tensor:
        """The depth itself."""
        return depth

    def screen_depth_step(self, depth: Tensor, step: Tensor) -> Tensor:
        """The step itself."""
        return step

    def plane_slope(
        self, points_c: Tensor, normals_c: Tensor, depth: Tensor, focal_px: Tensor, steepest: float
    ) -> tuple[Tensor, Tensor]:
        """From n . X = n . point on the plane, with X = (x, y, depth)."""
        facing = -normals_c[:, 2]
        limit = steepest / focal_px
        return facing, (normals_c[:, :2] / (facing.clamp_min(1e-6) * focal_px)[:, None]).clamp(-limit, limit)
