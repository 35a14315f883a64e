"""Build an initial mesh from the masks of the targets: their visual hull."""

from __future__ import annotations

import torch

from diffrender.config.options.meshes import VisualHullMesh
from diffrender.errors import ConfigError, DataError
from diffrender.geometry.primitives import Triangles
from diffrender.geometry.silhouette_distance import MaskDistanceField, MaskViews
from diffrender.geometry.visual_hull import visual_hull
from diffrender.readers.captures.picture_files import some
from diffrender.scene.target_views import Views
from diffrender.setup.camera_poses import doubt_poses
from diffrender.setup.mask_agreement import find_odd_views, shrink_masks
from diffrender.setup.region import InitRegion, box_of_views

# Edges become about three pixels long, enough for a silhouette; finer cells would reproduce the pixel grid.
CELL_PX = 2.5
# Fewer cells per side would round off small images; more give more triangles than an initial mesh needs.
FEWEST_CELLS, MOST_CELLS = 40, 80
# Where this share of the masks is thinner than two of those cells, as of chairs (.26, .45) and a plant (.30), not of
# animals (.01) or a bulldozer (.03), cells are finer: of legs that are not in the first shape, parts stay missing.
THIN, MOST_CELLS_OF_THIN = 0.1, 160
# As many look-ups of a point in a mask take some ten seconds.
MOST_LOOK_UPS = 6e7


def build_hull(options: VisualHullMesh, place: InitRegion, where: str) -> tuple[VisualHullMesh, Triangles]:
    """Return `options` with defaults filled in, and the visual hull of the fitted views of `place`, in the world.

    Views that disagree with all others do not carve it: one camera that is wrong would cut off half of the object.
    where: the key of the scene file, for messages.
    Raises ConfigError if the views have no masks, `tolerance` is not below the number of those that carve, or
    `leave_out` names others; DataError if the hull is empty.
    """
    views = place.views
    if views is None or views.masks is None:
        raise ConfigError(
            f"{where}: a visual hull needs masks, but the targets have none; give every frame a mask_path or an image"
            " with an alpha channel, or start from what the pictures show ({init: stereo}) or from {init: sphere}"
        )
    left_out = options.leave_out
    if left_out is None:
        left_out = list(find_odd_views(views))
    views = _without(views, left_out, f"{where}.leave_out")
    if options.tolerance >= len(views):
        raise ConfigError(
            f"{where}.tolerance: must be less than the number of views that carve ({len(views)}), got"
            f" {options.tolerance}"
        )
    box = options.aabb or place.box
    if box is None:
        place.require_sight(where)
    low, high = box_of_views(views) if box is None else torch.tensor(box)
    resolution = options.resolution or _choose_resolution(views, low, high)
    options = options.model_copy(update={"resolution": resolution, "leave_out": left_out or options.leave_out})
    cameras = views.cameras
    silhouettes = MaskViews(views.masks, views.names, cameras.project, cameras.focal_px, cameras.near, views.weights)
    cell = float((high - low).max()) / resolution
    try:
        return options, visual_hull(
            MaskDistanceField(silhouettes), low, high, cell, options.components, options.tolerance
        )
    except DataError as error:
        doubt = doubt_poses(views, place.origin)
        raise DataError(f"{where}: {error}" + (f"; of the targets, {doubt}" if doubt else "")) from error


def note_left_out(names: list[str], where: str) -> str:
    """Return a note on views that disagree with all others, and were left out of the hull."""
    several = len(names) > 1
    return (
        f"{where}: the visual hull is carved without {some(names)}, whose {'masks do' if several else 'mask does'} not"
        " agree with those of the other views; the fit still compares"
        f" {'them' if several else 'it'}: correct mask and camera or remove the frame,"
        " unless optimize.cameras.pose is learned, which corrects cameras that are nearly right"
    )


def _without(views: Views, names: list[str], where: str) -> Views:
    """Return `views` without those of these names. Raises ConfigError if there are no such views, or none is left."""
    unknown = [name for name in names if name not in views.names]
    if unknown:
        raise ConfigError(f"{where}: {some(unknown)} is not among the fitted views; they are {some(list(views.names))}")
    kept = [index for index, name in enumerate(views.names) if name not in names]
    if not kept:
        raise ConfigError(f"{where}: names all {len(views)} fitted views, so that none carves the hull; remove some")
    return views.select(kept) if names else views


def _choose_resolution(views: Views, low: torch.Tensor, high: torch.Tensor) -> int:
    """Return the number of cells along the longest side of the box, about CELL_PX pixels each."""
    most = MOST_CELLS
    if _thin_share(views, low, high) > THIN:
        most = max(MOST_CELLS, min(MOST_CELLS_OF_THIN, (MOST_LOOK_UPS / len(views)) ** (1 / 3)))
    return round(min(max(FEWEST_CELLS, _pixels_across(views, low, high) / CELL_PX), most))


def _pixels_across(views: Views, low: torch.Tensor, high: torch.Tensor) -> float:
    """Return how many pixels long the longest side of the box is, at its middle."""
    pixel = views.cameras.pixel_size(((low + high) / 2)[None])
    return float((high - low).max() / pixel.median())


def _thin_share(views: Views, low: torch.Tensor, high: torch.Tensor) -> float:
    """Return the share of the masks that is thinner than about two of MOST_CELLS cells."""
    small = shrink_masks(views)
    assert small.masks is not None
    cell_px = _pixels_across(small, low, high) / MOST_CELLS
    width = 2 * max(1, round(cell_px)) + 1
    masks = (small.masks > 0.5).float()[:, None]
    core = -torch.nn.functional.max_pool2d(-masks, width, 1, width // 2)
    kept = torch.nn.functional.max_pool2d(core, width, 1, width // 2)
    return float((masks - kept).clamp_min(0).sum() / masks.sum().clamp_min(1))
