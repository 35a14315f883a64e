"""A start carved from the targets' masks."""

from __future__ import annotations

import torch

from diffrender.config.options.meshes import VisualHullMesh
from diffrender.errors import ConfigError, DataError
from diffrender.geometry.mask_distance import MaskDistanceField, MaskViews
from diffrender.geometry.primitives import Triangles
from diffrender.geometry.visual_hull import visual_hull
from diffrender.scene.views import Views
from diffrender.setup.region import InitRegion, box_of_views

# Finer cells show the steps of pixels. They give edges of three pixels: enough for an outline.
CELL_PX = 2.5
# Fewer cells along the box would round small images off; more give more triangles than a start needs.
FEWEST_CELLS, MOST_CELLS = 40, 80


def build_hull(options: VisualHullMesh, place: InitRegion, where: str) -> tuple[VisualHullMesh, Triangles]:
    """The visual hull of the fitted views of `place`, in the world, and the options with all that was left out.

    where: the key of the scene file, for messages.
    Raises ConfigError where the views have no masks or are too few to tolerate some, DataError for an empty hull.
    """
    views = place.views
    if views is None or views.masks is None:
        raise ConfigError(
            f"{where}: a visual hull is carved from masks, and the targets have none; give every frame a mask_path or"
            " images with an alpha channel, or start from {init: sphere}"
        )
    if options.tolerance >= len(views):
        raise ConfigError(f"{where}.tolerance: must be less than the number of fitted views, {len(views)}")
    box = options.aabb or place.box
    low, high = box_of_views(views) if box is None else torch.tensor(box)
    options = options.model_copy(update={"resolution": options.resolution or _resolution(views, low, high)})
    cameras = views.cameras
    silhouettes = MaskViews(views.masks, views.names, cameras.project, cameras.focal_px, cameras.near)
    assert options.resolution is not None
    cell = float((high - low).max()) / options.resolution
    try:
        return options, visual_hull(
            MaskDistanceField(silhouettes), low, high, cell, options.components, options.tolerance
        )
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def _resolution(views: Views, low: torch.Tensor, high: torch.Tensor) -> int:
    """Cells along the longest side of the box, about CELL_PX pixels each."""
    pixel = views.cameras.pixel_size(((low + high) / 2)[None])
    return round(min(max(FEWEST_CELLS, float((high - low).max() / pixel.median()) / CELL_PX), MOST_CELLS))
