"""Distance of points in space from the silhouettes in a set of masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffrender.checks import check_shape
from diffrender.errors import ShapeError

# Standard deviation of the blur that smooths the staircases of binary masks; less leaves steps, more rounds corners.
BLUR_PX = 0.7
# Distances are computed up to this far outside the image; further out only their sign is right, which is enough.
PAD_PX = 16
# Points per batch, so that their values stay in the cache.
PORTION = 1 << 16


@dataclass(frozen=True)
class MaskViews:
    """N masks with the projection of their cameras (pixel centres at +0.5).

    masks: [N, H, W] float, coverage in 0..1; the object is where it is at least 0.5.
    names: N names for messages.
    project: maps world points [M, 3] to homogeneous pixel coordinates [N, M, 4] = (x w, y w, w, depth) in the N images;
        w is the width of focal_px pixels at that point in world units.
    focal_px: [N, 2] focal lengths (x, y) in pixels.
    near: depth of the near plane in world units; points in front of it are not visible.
    weights: [N, H, W] in 0..1, how much of each pixel of the masks is known, or None if all is.
    """

    masks: Tensor
    names: tuple[str, ...]
    project: Callable[[Tensor], Tensor]
    focal_px: Tensor
    near: float
    weights: Tensor | None = None

    def __post_init__(self) -> None:
        n_views = len(self.masks)
        check_shape("MaskViews", "masks", self.masks, ("N", "H", "W"))
        check_shape("MaskViews", "focal_px", self.focal_px, (n_views, 2))
        if self.weights is not None:
            check_shape("MaskViews", "weights", self.weights, tuple(self.masks.shape))
        if len(self.names) != n_views:
            raise ShapeError(f"MaskViews: names must have one entry per mask ({n_views}), got {len(self.names)}")
        if 0 in self.masks.shape:
            raise ShapeError(f"MaskViews: masks must hold at least one pixel, got {list(self.masks.shape)}")


class MaskDistanceField:
    """Signed distance of points from the silhouette of each view, in world units.

    Negative inside a silhouette, zero on it, with sub-pixel accuracy. A view does not exclude points that it cannot
    see: those behind its camera, those in parts of its image that are not known or, if the image border cuts the
    silhouette, those outside its image.
    """

    def __init__(self, silhouettes: MaskViews) -> None:
        self._views = silhouettes
        masks = silhouettes.masks.cpu().numpy()
        weights = np.ones_like(masks) if silhouettes.weights is None else silhouettes.weights.cpu().numpy()
        distances = [_padded_distance(*each) for each in zip(masks, weights, strict=True)]
        self._distance_px = torch.from_numpy(np.stack(distances)).float()

    def __len__(self) -> int:
        return len(self._views.masks)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the views."""
        return self._views.names

    @property
    def long_side(self) -> int:
        """The long side of the images in pixels."""
        return max(self._views.masks.shape[1:])

    def outside(self, points_w: Tensor) -> Tensor:
        """Return the distance [N, M] of points [M, 3] float32 from each silhouette, in world units at their depth."""
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

    def judged(self, points_w: Tensor) -> Tensor:
        """Return how many views show points [M, 3], in a known part of their image: [M] int64."""
        return torch.cat([self._pixels(points)[0].sum(0) for points in points_w.split(PORTION)])

    def n_squares(self, side: int) -> int:
        """Return how many squares there are in all images, as in `squares`."""
        height, width = self._views.masks.shape[1:]
        return len(self) * (-(-height // side)) * (-(-width // side))

    def squares(self, points_w: Tensor, side: int) -> Tensor:
        """Return which square of side x side pixels of all images, numbered through, shows points [M, 3]: [N, M] int64.

        -1 where a view does not show the point in a known part of its image.
        """
        height, width = self._views.masks.shape[1:]
        rows, columns = -(-height // side), -(-width // side)
        first = torch.arange(len(self))[:, None] * rows * columns
        is_inside, row, column = self._pixels(points_w)
        return torch.where(is_inside, first + row // side * columns + column // side, -1)

    def _pixels(self, points_w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return whether each view shows points [M, 3] in a known part of its image, and at which row and column."""
        views = self._views
        height, width = views.masks.shape[1:]
        homogeneous = views.project(points_w)
        is_ahead = homogeneous[..., 3] > views.near
        xy = homogeneous[..., :2] / homogeneous[..., 2:3].where(is_ahead[..., None], 1.0)
        column, row = xy.floor().nan_to_num(-1).clamp(-1, max(height, width)).long().unbind(-1)
        is_inside = is_ahead & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        if views.weights is not None:
            view = torch.arange(len(self))[:, None].expand_as(row)
            is_inside &= views.weights.cpu()[view, row.clamp(0, height - 1), column.clamp(0, width - 1)] > 0
        return is_inside, row, column

    def hull(self, points_w: Tensor, tolerance: int = 0) -> Tensor:
        """Return [M] for points [M, 3]: negative inside the visual hull, where up to `tolerance` views may disagree."""
        if not 0 <= tolerance < len(self):
            raise ShapeError(
                f"hull: tolerance must be in 0..{len(self) - 1}, below the number of views, got {tolerance}"
            )
        parts = []
        for portion in points_w.split(PORTION):
            outside = self.outside(portion)
            parts.append(outside.amax(0) if tolerance == 0 else outside.topk(tolerance + 1, dim=0).values[-1])
        return torch.cat(parts) if parts else points_w.new_zeros(0)


def _padded_distance(mask: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the blurred `signed_distance_px` of `mask` [H, W], padded by PAD_PX pixels on every side.

    What is not known (`weight` below 1) counts as object, also in the surroundings of the image beside it. If the
    object reaches the border, all surroundings are unknown and count as object; otherwise they count as background.
    """
    from scipy.ndimage import gaussian_filter

    known = np.where(weight > 0, weight * mask, 0)
    border = np.concatenate([known[0], known[-1], known[:, 0], known[:, -1]])
    padded = np.pad(known, PAD_PX, constant_values=float(border.max() >= 0.5)) + np.pad(1 - weight, PAD_PX, mode="edge")
    padded = padded.clip(0, 1)
    return gaussian_filter(signed_distance_px(padded), BLUR_PX, mode="nearest")


def signed_distance_px(mask: np.ndarray) -> np.ndarray:
    """Return the distance [H, W] of pixel centres from the outline of `mask` [H, W] (coverage 0..1), negative inside.

    Measured to the centre of the nearest pixel on the other side and corrected by the coverage of the outline's
    pixels: exact for straight outlines along the axes. Without an outline: the longer side of the image.
    Source: S. Gustavson, R. Strand, "Anti-aliased Euclidean distance transform" (2011), with the direction
    of the distance in place of the edge normal.
    """
    inside = mask >= 0.5
    if inside.all() or not inside.any():
        return np.full(mask.shape, -1.0 if inside.all() else 1.0) * max(mask.shape)
    return _distance_px(mask, inside) - _distance_px(1 - mask, ~inside)


def _distance_px(mask: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the distance [H, W] of the pixels that are not `inside`; zero inside."""
    from scipy.ndimage import distance_transform_edt

    found: Any = distance_transform_edt(~inside, return_indices=True)
    distance, nearest = found
    # The outline crosses the nearest pixel or the next one on the way here; the coverage of both gives its position.
    way = np.indices(mask.shape) - nearest
    step = np.rint(way / np.maximum(distance, 1)).astype(np.int64)
    covered = mask[tuple(nearest)] + mask[tuple(nearest + step)]
    return np.where(inside, 0.0, distance + 0.5 - covered)
