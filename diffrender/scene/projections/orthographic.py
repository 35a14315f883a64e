"""Orthographic: the projection by parallel rays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from diffrender.scene.projection import Rectilinear


@dataclass(frozen=True)
class Orthographic(Rectilinear):
    """Parallel rays: (x, y) on the image plane at every depth; `focal_px` is in pixels per world unit.

    Points behind the camera plane are imaged as well, unless `near` (default 0) clips them.
    """

    default_near: ClassVar[float] = 0.0

    def from_image_plane(self, xy: Tensor, depth: Tensor) -> Tensor:
        """Return (x, y, depth)."""
        return torch.cat([xy, depth], -1)

    def scale(self, depth: Tensor) -> Tensor:
        """Return 1 at every depth."""
        return torch.ones_like(depth)

    def directions_to_camera(
        self, points_w: Tensor, eye_w: Tensor, forward_w: Tensor, view: Tensor, backend: str | None = None
    ) -> Tensor:
        """Return the reversed viewing direction, the same at all points of a view."""
        return -forward_w.index_select(0, view)

    def screen_depth(self, depth: Tensor) -> Tensor:
        """Return the depth itself."""
        return depth

    def screen_depth_step(self, depth: Tensor, step: Tensor) -> Tensor:
        """Return the step itself."""
        return step

    def plane_slope(
        self, points_c: Tensor, normals_c: Tensor, depth: Tensor, focal_px: Tensor, steepest: float
    ) -> tuple[Tensor, Tensor]:
        """Solve n . X = n . point, the plane's equation, with X = (x, y, depth)."""
        facing = -normals_c[:, 2]
        limit = steepest / focal_px
        return facing, (normals_c[:, :2] / (facing.clamp_min(1e-6) * focal_px)[:, None]).clamp(-limit, limit)
