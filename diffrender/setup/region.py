"""Estimate where the object of a capture is and how large: the initial region of a fit."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from diffrender.scene.target_views import Views

# Fraction of the estimated radius, so that the initial sphere is inside the object.
INSIDE = 0.8
# Without masks: the fraction of the narrowest view that the object is assumed to fill.
FILLED = 0.5


Vector: TypeAlias = tuple[float, float, float]


class Region(NamedTuple):
    """A ball in the world: center (x, y, z) and radius."""

    center: Vector
    radius: float


class InitRegion(NamedTuple):
    """What is known about the position and size of an initial mesh.

    region: an estimate. box: the low and high corner that the targets state, or None.
    views: the fitted views, or None in a scene that is itself a target.
    origin: the point of the user's world that is the origin of all of this (setup.local_origin).
    """

    region: Region
    box: tuple[Vector, Vector] | None
    views: Views | None
    origin: Vector = (0.0, 0.0, 0.0)


def region_of_box(low: Tensor, high: Tensor) -> Region:
    """Return the largest ball about the middle of the box from `low` [3] to `high` [3], reduced by INSIDE."""
    middle = (low + high) / 2
    return Region(to_triple(middle), INSIDE * float((high - low).min()) / 2)


def region_of_views(views: Views) -> Region:
    """Return the ball that the masks of `views` suggest; without masks, one about the point that all cameras look at.

    The centre is the point nearest to the rays through the masks' centroids (in the least-squares sense; on the ray
    of a single view, the point nearest to the world's origin). The radius is the mean over views of the radius of a
    disc of the mask's area, at the depth of the centre.
    """
    # Their near depth follows from the region.
    cameras = replace(views.cameras, near=min(views.cameras.near, 1e-30))
    if views.masks is None:
        pixel = cameras.center_px
        size_px = cameras.focal_px.new_full((len(views),), FILLED * min(cameras.height, cameras.width) / 2)
    else:
        pixel, size_px = _centroids(views.masks), (views.masks.sum((1, 2)) / math.pi).sqrt()
    origin, direction = cameras.rays(pixel[:, None])
    center = _nearest_point(origin[:, 0], direction[:, 0])
    radii = size_px * cameras.pixel_size(center[None])[:, 0]
    return Region(to_triple(center), INSIDE * float(radii.min() if views.masks is None else radii.mean()))


def box_of_views(views: Views) -> tuple[Tensor, Tensor]:
    """Return the low and high corner [3] of a cube that contains the object in the masks of `views`.

    Its middle is that of `region_of_views`. It reaches as far from there as any mask does, plus a margin for parts
    that are farther from the camera than the middle and thus look smaller.
    """
    assert views.masks is not None
    cameras = views.cameras
    center = torch.tensor(region_of_views(views).center)
    middle_px = cameras.world_to_pixels(center[None])[:, 0, :2]
    row, column = (torch.arange(size) + 0.5 for size in (cameras.height, cameras.width))
    x, y = column - middle_px[:, 0, None, None], row[:, None] - middle_px[:, 1, None, None]
    reach_px = ((x.square() + y.square()).sqrt() * (views.masks >= 0.5)).amax((1, 2))
    pixel = cameras.pixel_size(center[None])[:, 0]
    reach = reach_px * pixel
    # The margin for points `reach` behind the middle: the growth of the image scale per unit of depth.
    scale = cameras.projection.scale
    growth = scale(torch.ones_like(reach)) - scale(torch.zeros_like(reach))
    tangent = (growth * reach_px / cameras.focal_px.mean(1)).clamp_max(0.5)
    half = float((reach / (1 - tangent)).nan_to_num(0).max()) + float(pixel.max())
    return center - half, center + half


def _centroids(masks: Tensor) -> Tensor:
    """Return the centroids [N, 2] (x, y) in pixels."""
    _, height, width = masks.shape
    area = masks.sum((1, 2)).clamp_min(1e-6)
    x = (masks.sum(1) * (torch.arange(width, device=masks.device) + 0.5)).sum(1) / area
    y = (masks.sum(2) * (torch.arange(height, device=masks.device) + 0.5)).sum(1) / area
    return torch.stack([x, y], 1)


def _nearest_point(origin: Tensor, direction: Tensor) -> Tensor:
    """Return the point [3] with the least sum of squared distances to the lines; of several, the nearest to zero."""
    origin, direction = origin.double(), direction.double()
    across = torch.eye(3, dtype=torch.float64, device=origin.device) - direction[:, :, None] * direction[:, None, :]
    total = across.sum(0)
    # Parallel lines leave a direction undetermined; the cut-off keeps rounding from determining it.
    return (torch.linalg.pinv(total, rtol=1e-6) @ (across @ origin[:, :, None]).sum(0))[:, 0].float()


def to_triple(point: Tensor) -> Vector:
    """Return `point` [3] as three numbers."""
    x, y, z = point.tolist()
    return x, y, z
