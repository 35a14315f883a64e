"""The pictures at the end of a run: its shape, also from where no camera was, and its worst views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from diffrender.app.evaluation import Evaluation
from diffrender.app.shown_views import ShownViews, render_clay
from diffrender.app.turntable import bounding_ball, upward
from diffrender.fit.loop import FitResult
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.environment.sphere_directions import even_directions
from diffrender.scene.projections.orthographic import Orthographic
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import evenly_spaced_indices
from diffrender.setup.fit_setup import FitSetup
from diffrender.writers.images.png import encode_srgb8
from diffrender.writers.report.progress_panels import ProgressPanels
from diffrender.writers.report.shape_picture import encode_view_normals, shape_grid, write_shape_picture

SHAPE, WORST = "shape.png", "worst.png"
# Views in shape.png, at most: they are large. One more is of the side that cameras saw least.
MOST_VIEWS = 3
LEAST_SEEN = "the side seen least"
# Its distance from the middle of the shape, in radii, and its field of view, in which the shape is zoomed in.
DISTANCE, FOV_DEG = 4.0, 45.0
# Up must differ from where a camera looks by a few degrees.
MOST_UPRIGHT = 0.99
# The width of a picture of the shape, in widths of the shape.
BORDER = 1.08


def write_shape(path: Path, setup: FitSetup, result: FitResult, shown: ShownViews) -> None:
    """Write clay and normals of the fitted scene, beside those of the target scene if that is known.

    Both are seen through fitted cameras, and from the direction that is farthest from all of them: there a shape is
    guessed. Raises DataError if the file cannot be written.
    """
    index = evenly_spaced_indices(len(shown.views), MOST_VIEWS)
    names = [*(shown.views.names[view] for view in index), LEAST_SEEN]
    scenes = {"": result.scene}
    if setup.target_scene is not None:
        scenes["true "] = setup.target_scene.to(setup.device)
    grid = shape_grid(len(names), 2 * len(scenes))
    still = {name: replace(scene, motion=None) for name, scene in scenes.items()}
    views = [
        _draw_shapes(scenes, shown.cameras(result.cameras).select(index), grid.cell[0]),
        _draw_shapes(still, least_seen_side(result.cameras, result.scene), grid.cell[0]),
    ]
    columns = {title: np.concatenate([images[title] for images in views]) for title in views[0]}
    write_shape_picture(path, grid, columns, names, f"after step {result.returned_step}")


def write_worst(path: Path, setup: FitSetup, result: FitResult, final: Evaluation) -> None:
    """Write a picture, as those of the progress, of the worst fitted and the worst held-out view.

    Raises DataError if the file cannot be written.
    """
    shown = ShownViews.worst(setup, final)
    panels = ProgressPanels(shown.views, display=setup.display)
    clay = render_clay(result.scene, shown.cameras(result.cameras), panels.grid.cell)
    title = "worst view" if len(shown.views) == 1 else "worst views"
    panels.write(path, shown.render(result.scene, result.cameras), clay, title, f"after step {result.returned_step}")


def _draw_shapes(scenes: Mapping[str, Scene], cameras: Cameras, size: int) -> dict[str, np.ndarray]:
    """Return square pictures uint8 [n, size, size, 3] of clay and normals of each scene, by title."""
    cameras = _zoom_in(cameras, list(scenes.values()), size)
    clay = {f"{name}shape": encode_srgb8(render_clay(scene, cameras, (size, size))) for name, scene in scenes.items()}
    return clay | {f"{name}normals": _render_normals(scene, cameras) for name, scene in scenes.items()}


@torch.no_grad()
def least_seen_side(cameras: Cameras, scene: Scene) -> Cameras:
    """Return a camera that looks at the scene's objects from the direction farthest from those of all cameras."""
    center, radius = bounding_ball(scene)
    offset = cameras.positions_w().to(center) - center
    if isinstance(cameras.projection, Orthographic):
        offset = -cameras.cam_from_world[:, 2, :3].to(center)
    towards = torch.nn.functional.normalize(offset, dim=1)
    candidates = even_directions(center)
    direction = candidates[(candidates @ towards.T).amax(1).argmin()]
    up = upward(cameras).to(center)
    if float((up @ direction).abs()) > MOST_UPRIGHT:
        # From straight above or below: upright as for who leans over from where the first camera is, or, if that is
        # there as well, as in its images.
        axes = torch.stack([towards[0], -cameras.cam_from_world[0, 1, :3].to(center)])
        across = axes - (axes @ direction)[:, None] * direction
        up = across[across.norm(dim=1).argmax()]
    eye = center + DISTANCE * radius * direction
    side = max(cameras.height, cameras.width)
    return Cameras.perspective(eye[None], center, up, FOV_DEG, side, side, near=float(radius) * 1e-3)


@torch.no_grad()
def _zoom_in(cameras: Cameras, scenes: Sequence[Scene], size: int) -> Cameras:
    """Return the cameras with square images that show what they see of the scenes as large as possible."""
    is_covered = torch.stack([render(scene, cameras, aovs=("depth",)).face_id >= 0 for scene in scenes]).any(0)
    low, high = [], []
    for covered in is_covered:
        row_column = covered.nonzero() if bool(covered.any()) else torch.ones_like(covered).nonzero()
        low.append(row_column.amin(0).flip(0))
        high.append(row_column.amax(0).flip(0) + 1)
    corner, end = (torch.stack(ends).to(cameras.focal_px) for ends in (low, high))
    scale = size / (BORDER * (end - corner).amax(1, keepdim=True))
    center_px = (cameras.center_px - (corner + end) / 2) * scale + size / 2
    return replace(cameras, focal_px=cameras.focal_px * scale, center_px=center_px, height=size, width=size)


@torch.no_grad()
def _render_normals(scene: Scene, cameras: Cameras) -> np.ndarray:
    rendered = render(scene, cameras, aovs=("normal",))
    normal_c = torch.einsum("nij,nhwj->nhwi", cameras.cam_from_world[:, :3, :3], rendered.aov("normal"))
    return encode_view_normals(normal_c, rendered.coverage)
