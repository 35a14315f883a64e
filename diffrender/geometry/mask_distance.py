"""How far a point of space is outside of the outlines that cameras saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffrender.checks import check_shape
from diffrender.errors import ShapeError

# Staircases of hard masks are smoothed by this many pixels; less leaves steps, more rounds corners.
BLUR_PX = 0.7
# So far beyond the image distances grow; further out they keep their sign, which is what matters there.
PAD_PX = 16
# Points are handled in portions of this many, whose values stay in the cache.
PORTION = 1 << 16


@dataclass(frozen=True)
class MaskViews:
    """N outlines with the cameras that saw them (pixel centres at +0.5).

    masks: [N, H, W] float, coverage in 0..1; 0.5 and more is the object.
    names: N names for people.
    project: homogeneous pixel coordinates [N, M, 4] = (x w, y w, w, depth) of world points [M, 3] in the N images; w
        is how many world units focal_px pixels are wide there.
    focal_px: [N, 2] focal lengths (x, y) in pixels.
    near: the depth up to which a camera sees nothing, in world units.
    """

    masks: Tensor
    names: tuple[str, ...]
    project: Callable[[Tensor], Tensor]
    focal_px: Tensor
    near: float

    def __post_init__(self) -> None:
        n_views = len(self.masks)
        check_shape("MaskViews", "masks", self.masks, ("N", "H", "W"))
        check_shape("MaskViews", "focal_px", self.focal_px, (n_views, 2))
        if len(self.names) != n_views:
            raise ShapeError(f"MaskViews: names must have one entry a mask ({n_views}), got {len(self.names)}")
        if 0 in self.masks.shape:
            raise ShapeError(f"MaskViews: masks must hold at least one pixel, got {list(self.masks.shape)}")


class MaskDistanceField:
    """For points of space, how far each view says that they are outside of the object, in world units.

    Negative inside of an outline, zero on it, at sub-pixel accuracy. A view excludes no point that it does not
    see: one behind its camera or, where the outline is cut by the image's border, one outside its image.
    """

    def __init__(self, silhouettes: MaskViews) -> None:
        self._views = silhouettes
        distances = [_padded_distance(mask.cpu().numpy()) for mask in silhouettes.masks]
        self._distance_px = torch.from_numpy(np.stack(distances)).float()

    def __len__(self) -> int:
        return len(self._views.masks)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the views."""
        return self._views.names

    def outside(self, points_w: Tensor) -> Tensor:
        """Return [N, M] world units for points [M, 3] float32: distances to silhouettes, scaled by their depth."""
        views = self._views
        homogeneous = views.project(points_w)
        w, depth = homogeneous[..., 2], homogeneous[..., 3]
        seen = depth > views.near
        xy = homogeneous[..., :2] / w.where(seen, torch.ones_like(w))[..., None] + PAD_PX
        height, width = self._distance_px.shape[1:]
        grid = xy * xy.new_tensor([2 / width, 2 / height]) - 1
        distance_px = torch.nn.functional.grid_sample(
            self._distance_px[:, None], grid[:, None], padding_mode="border", align_corners=False
        )[:, 0, 0]
        distance = distance_px * w / views.focal_px.mean(1, keepdim=True)
        return distance.where(seen, -torch.inf)

    def hull(self, points_w: Tensor, tolerance: int = 0) -> Tensor:
        """Return [M] for points [M, 3]: negative inside the visual hull, which all views but `tolerance` agree on."""
        if not 0 <= tolerance < len(self):
            raise ShapeError(f"hull: tolerance must be in 0..{len(self) - 1}, below the number of views")
        parts = []
        for portion in points_w.split(PORTION):
            outside = self.outside(portion)
            parts.append(outside.amax(0) if tolerance == 0 else outside.topk(tolerance + 1, dim=0).values[-1])
        return torch.cat(parts) if parts else points_w.new_zeros(0)


def _padded_distance(mask: np.ndarray) -> np.ndarray:
    """Return `signed_distance_px` of `mask` [H, W], blurred, continued by PAD_PX pixels on every side.

    Where the object reaches the border it is unknown what is outside the image, and all of it counts as object; else
    all of it counts as background.
    """
    from scipy.ndimage import gaussian_filter

    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    padded = np.pad(mask, PAD_PX, constant_values=float(border.max() >= 0.5))
    return gaussian_filter(signed_distance_px(padded), BLUR_PX, mode="nearest")


def signed_distance_px(mask: np.ndarray) -> np.ndarray:
    """Return [H, W] distance of pixel centres from the outline of `mask` [H, W] (coverage in 0..1), negative inside.

    From the pixel centre to that of the nearest pixel on the other side, corrected by how much the outline's pixel is
    covered: exact for straight outlines along the axes. Without an outline: the length of the image.
    Source: S. Gustavson, R. Strand, "Anti-aliased Euclidean distance transform" (2011), with the edge's direction
    taken to be that of the distance.
    """
    inside = mask >= 0.5
    if inside.all() or not inside.any():
        return np.full(mask.shape, -1.0 if inside.all() else 1.0) * max(mask.shape)
    return _distance_px(mask, inside) - _distance_px(1 - mask, ~inside)


def _distance_px(mask: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return [H, W] distance of the pixels that are not `inside`; zero inside."""
    from scipy.ndimage import distance_transform_edt

    found: Any = distance_transform_edt(~inside, return_indices=True)
    distance, nearest = found
    # The outline crosses that pixel or the next one on the way here: as far as the two are covered, so far out it is.
    way = np.indices(mask.shape) - nearest
    step = np.rint(way / np.maximum(distance, 1)).astype(np.int64)
    covered = mask[tuple(nearest)] + mask[tuple(nearest + step)]
    return np.where(inside, 0.0, distance + 0.5 - covered)
