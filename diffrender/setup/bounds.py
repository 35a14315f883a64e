"""The box that an object or a surface of a capture is in, to be stated in a scene file."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.config.options.meshes import VisualHullMesh
from diffrender.errors import ConfigError, DataError
from diffrender.readers.captures.capture import Capture
from diffrender.scene.target_views import Views
from diffrender.setup.backdrop import find_backdrop, with_masks
from diffrender.setup.hull import build_hull
from diffrender.setup.mask_agreement import shrink_masks
from diffrender.setup.region import FILLED, INSIDE, InitRegion, region_of_views, sight_of_views

# Cells along the side of a visual hull that tells a box, and the margin about it, in parts of its side: hulls lose what
# is thinner than a cell (of 40: a fish's tail, a chair's legs and back), and few points are at the ends of a shape.
CELLS, MARGIN = 128, 0.15
# What is in so many of the views is what they show, and so many of its points may be wrong at either end.
SHARE_OF_VIEWS, OUTLIERS, FEWEST = 0.3, 0.01, 20


class Bounds(NamedTuple):
    """low, high: [3] corners in the world of the capture. by: what tells them, in words."""

    low: Tensor
    high: Tensor
    by: str


def find_bounds(capture: Capture) -> Bounds | None:
    """Return a box around what a capture shows, None if nothing tells.

    By its masks, that of their visual hull; else by its points, of those that many views show; else by what all of its
    cameras see, if they look at one place. A box that the capture states comes before all.
    """
    found = _in_world_of_views(capture)
    if found is None:
        return None
    origin = torch.tensor(capture.origin, dtype=torch.float64)
    return Bounds(found.low.double() + origin, found.high.double() + origin, found.by)


def _in_world_of_views(capture: Capture) -> Bounds | None:
    views, points = capture.views, capture.points
    if capture.aabb is not None:
        return Bounds(*capture.aabb, "the capture")
    backdrop = find_backdrop(views) if views.masks is None else None
    if backdrop is not None:  # unchanged if there is nothing in front of it
        views = with_masks(views, backdrop).views
    sight = sight_of_views(views)
    if views.masks is not None and sight.is_met:
        small = shrink_masks(views)
        try:
            _, hull = build_hull(VisualHullMesh(resolution=CELLS), InitRegion(region_of_views(small), None, small), "")
            return _with_margin(hull.vertices.amin(0), hull.vertices.amax(0), "masks")
        except (ConfigError, DataError):
            pass  # masks that do not meet
    shown = None if points is None else points[_is_shown(views, points)]
    if shown is not None and len(shown) >= FEWEST:
        ends = torch.quantile(shown, shown.new_tensor([OUTLIERS, 1 - OUTLIERS]), dim=0)
        return _with_margin(ends[0], ends[1], f"{len(shown):,} points")
    if not sight.is_met or sight.is_narrow:
        return None
    region = region_of_views(views)
    middle, half = torch.tensor(region.center), region.radius / (FILLED * INSIDE)
    return Bounds(middle - half, middle + half, "what all cameras see")


def _is_shown(views: Views, points: Tensor) -> Tensor:
    """Return which points [M] are in enough of the pictures."""
    cameras = views.cameras
    size = points.new_tensor([cameras.width, cameras.height])
    count = torch.zeros(len(points))
    for view in range(len(views)):
        seen = cameras.select([view]).world_to_pixels(points)[0]
        count += ((seen[:, :2] > 0) & (seen[:, :2] < size)).all(1) & (seen[:, 2] > 0)
    return count >= SHARE_OF_VIEWS * len(views)


def _with_margin(low: Tensor, high: Tensor, by: str) -> Bounds:
    margin = MARGIN * float((high - low).max())
    return Bounds(low - margin, high + margin, by)
