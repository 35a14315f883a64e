"""Estimate where the object of a capture is and how large: the initial region of a fit."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from diffrender.errors import DataError
from diffrender.geometry.primitives import Triangles
from diffrender.scene.cameras import Cameras
from diffrender.scene.target_views import Views, centroids_px

# Fraction of the estimated radius, so that the initial sphere is inside the object.
INSIDE = 0.8
# Without masks: the fraction of the narrowest view that the object is assumed to fill.
FILLED = 0.5
# The mean cosine between the cameras' sights and their directions to a point from which on they look at it.
MET = 0.5
# Below this mean square of the sine between lines of sight and their common direction they are about parallel.
NARROW = math.sin(math.radians(10)) ** 2


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
    doubt: why the views do not show where the object in their masks is; None if they do.
    surface: what the views show, if it has been looked for and found.
    """

    region: Region
    box: tuple[Vector, Vector] | None
    views: Views | None
    origin: Vector = (0.0, 0.0, 0.0)
    doubt: str | None = None
    surface: Triangles | None = None

    def require_sight(self, where: str) -> None:
        """Raise DataError if the region is a mere guess, so that the mesh `where` would be anywhere."""
        if self.doubt is not None:
            raise DataError(f"{where}: the targets do not show where the object is: {self.doubt}")


def region_of_box(low: Tensor, high: Tensor) -> Region:
    """Return the largest ball about the middle of the box from `low` [3] to `high` [3], reduced by INSIDE."""
    middle = (low + high) / 2
    return Region(to_triple(middle), INSIDE * float((high - low).min()) / 2)


def region_of_surface(vertices: Tensor) -> Region:
    """Return a ball about the middle of an open surface of vertices [V, 3], which may be flat."""
    low, high = vertices.amin(0), vertices.amax(0)
    return Region(to_triple((low + high) / 2), INSIDE * float((high - low).sort().values[1]) / 2)


class Sight(NamedTuple):
    """Where cameras look.

    point: [3] float64, nearest to their lines of sight. cosines: [N] between each camera's sight and its direction to
    the point; below 0 it is behind the camera. is_narrow: whether all look in about the same direction, or in the
    opposite one, so that the point is uncertain along it.
    """

    point: Tensor
    cosines: Tensor
    is_narrow: bool

    @property
    def is_met(self) -> bool:
        """Whether the cameras look at the point, but for a few."""
        return float(self.cosines.mean()) > MET


def sight_of_views(views: Views) -> Sight:
    """Return where `views` look: along the rays through the centroids of their masks, or else through their middles."""
    cameras = _without_near(views)
    origin, direction = (x[:, 0].double() for x in cameras.rays(mask_discs(views)[0][:, None]))
    point, least = _nearest_point(origin, direction)
    towards = point - origin
    # A camera at the point does not look at it: there its direction is rounding.
    distance = towards.norm(dim=1).clamp_min(1e-6 * float(origin.norm(dim=1).max()) + 1e-30)
    cosines = (towards * direction).sum(1) / distance
    # Parallel rays have no beginning: nothing is behind such cameras.
    is_parallel = cameras.projection.default_near <= 0
    return Sight(point, torch.ones_like(cosines) if is_parallel else cosines, least < NARROW)


def region_of_views(views: Views) -> Region:
    """Return the ball that the masks of `views` suggest; without masks, one about the point that all cameras look at.

    The centre is the point nearest to the rays through the masks' centroids (in the least-squares sense; on the ray
    of a single view, the point nearest to the world's origin). The radius is the mean over views of the radius of a
    disc of the mask's area, at the depth of the centre; views that have the centre behind them do not count.
    If most have, the ball is a guess, in front of cameras that look in about one direction, else among the cameras.
    """
    cameras, (_, size_px), sight = _without_near(views), mask_discs(views), sight_of_views(views)
    eyes = cameras.positions_w()
    middle = eyes.mean(0)
    spread = float((eyes - middle).norm(dim=1).max())
    center, is_seen = sight.point.float(), sight.cosines > 0
    if not sight.is_met:
        scale = spread if spread > 1e-6 * float(middle.norm()) else float(middle.norm()) or 1.0
        if not sight.is_narrow:
            return Region(to_triple(middle), INSIDE * scale)
        center = middle + 2 * scale * torch.nn.functional.normalize(cameras.cam_from_world[:, 2, :3].mean(0), dim=0)
        is_seen = torch.ones_like(is_seen)
    radii = (size_px * cameras.pixel_size(center[None])[:, 0])[is_seen]
    return Region(to_triple(center), INSIDE * float(radii.min() if views.masks is None else radii.mean()))


def _without_near(views: Views) -> Cameras:
    """Return the cameras with next to no near depth, which follows from the region."""
    return replace(views.cameras, near=min(views.cameras.near, 1e-30))


def mask_discs(views: Views) -> tuple[Tensor, Tensor]:
    """Return what each view shows as a disc: its middle [N, 2] and its radius [N] in pixels."""
    cameras = views.cameras
    masks = views.known_masks
    if masks is None:
        short_sides = [min(height, width) for _, _, height, width in views.photo_boxes()]
        return cameras.center_px, FILLED / 2 * cameras.focal_px.new_tensor(short_sides)
    return centroids_px(masks), (masks.sum((1, 2)) / math.pi).sqrt()


def box_of_views(views: Views) -> tuple[Tensor, Tensor]:
    """Return the low and high corner [3] of a cube that contains the object in the masks of `views`.

    Its middle is that of `region_of_views`. It reaches as far from there as any mask does, plus a margin for parts
    that are farther from the camera than the middle and thus look smaller.
    """
    masks = views.known_masks
    assert masks is not None
    cameras = views.cameras
    center = torch.tensor(region_of_views(views).center)
    middle_px = cameras.world_to_pixels(center[None])[:, 0, :2]
    row, column = (torch.arange(size) + 0.5 for size in (cameras.height, cameras.width))
    x, y = column - middle_px[:, 0, None, None], row[:, None] - middle_px[:, 1, None, None]
    reach_px = ((x.square() + y.square()).sqrt() * (masks >= 0.5)).amax((1, 2))
    pixel = cameras.pixel_size(center[None])[:, 0]
    reach = reach_px * pixel
    # The margin for points `reach` behind the middle: the growth of the image scale per unit of depth.
    scale = cameras.projection.scale
    growth = scale(torch.ones_like(reach)) - scale(torch.zeros_like(reach))
    tangent = (growth * reach_px / cameras.focal_px.mean(1)).clamp_max(0.5)
    half = float((reach / (1 - tangent)).nan_to_num(0).max()) + float(pixel.max())
    return center - half, center + half


def _nearest_point(origin: Tensor, direction: Tensor) -> tuple[Tensor, float]:
    """Return the point [3] with the least sum of squared distances to the lines; of several, the nearest to zero.

    And the mean square of the sine between the lines and their common direction: 0 if they are parallel.
    """
    across = torch.eye(3, dtype=torch.float64, device=origin.device) - direction[:, :, None] * direction[:, None, :]
    total = across.sum(0)
    # Parallel lines leave a direction undetermined; the cut-off keeps rounding from determining it.
    point = (torch.linalg.pinv(total, rtol=1e-6) @ (across @ origin[:, :, None]).sum(0))[:, 0]
    return point, float(torch.linalg.eigvalsh(total / len(origin))[0])


def to_triple(point: Tensor) -> Vector:
    """Return `point` [3] as three numbers."""
    x, y, z = point.tolist()
    return x, y, z
