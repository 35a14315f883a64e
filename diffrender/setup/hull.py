"""Build an initial mesh from the masks of the targets: their visual hull."""

from __future__ import annotations

import torch

from diffrender.config.options.meshes import VisualHullMesh
from diffrender.errors import ConfigError, DataError
from diffrender.geometry.primitives import Triangles
from diffrender.geometry.silhouette_distance import MaskDistanceField, MaskViews
from diffrender.geometry.visual_hull import visual_hull
from diffrender.scene.target_views import Views
from diffrender.setup.camera_poses import doubt_poses
from diffrender.setup.region import InitRegion, box_of_views

# Edges become about three pixels long, enough for a silhouette; finer cells would reproduce the pixel grid.
CELL_PX = 2.5
# Fewer cells per side would round off small images; more give more triangles than an initial mesh needs.
FEWEST_CELLS, MOST_CELLS = 40, 80


def build_hull(options: VisualHullMesh, place: InitRegion, where: str) -> tuple[VisualHullMesh, Triangles]:
    """Return `options` with defaults filled in, and the visual hull of the fitted views of `place`, in the world.

    where: the key of the scene file, for messages.
    Raises ConfigError if the views have no masks or `tolerance` is not below their number, DataError if the hull is
    empty.
    """
    views = place.views
    if views is None or views.masks is None:
        raise ConfigError(
            f"{where}: a visual hull needs masks, but the targets have none; give every frame a mask_path or an image"
            " with an alpha channel, or start from {init: sphere}"
        )
    if options.tolerance >= len(views):
        raise ConfigError(
            f"{where}.tolerance: must be less than the number of fitted views ({len(views)}), got {options.tolerance}"
        )
    box = options.aabb or place.box
    if box is None:
        place.require_sight(where)
    low, high = box_of_views(views) if box is None else torch.tensor(box)
    options = options.model_copy(update={"resolution": options.resolution or _choose_resolution(views, low, high)})
    cameras = views.cameras
    silhouettes = MaskViews(views.masks, views.names, cameras.project, cameras.focal_px, cameras.near, views.weights)
    assert options.resolution is not None
    cell = float((high - low).max()) / options.resolution
    try:
        return options, visual_hull(
            MaskDistanceField(silhouettes), low, high, cell, options.components, options.tolerance
        )
    except DataError as error:
        doubt = doubt_poses(views, place.origin)
        raise DataError(f"{where}: {error}" + (f"; of the targets, {doubt}" if doubt else "")) from error


def _choose_resolution(views: Views, low: torch.Tensor, high: torch.Tensor) -> int:
    """Return the number of cells along the longest side of the box, about CELL_PX pixels each."""
    pixel = views.cameras.pixel_size(((low + high) / 2)[None])
    return round(min(max(FEWEST_CELLS, float((high - low).max() / pixel.median()) / CELL_PX), MOST_CELLS))
