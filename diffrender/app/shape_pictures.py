"""The pictures at the end of a run: its shape, and its worst views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from diffrender.app.evaluation import Evaluation
from diffrender.app.shown_views import ShownViews, render_clay
from diffrender.fit.loop import FitResult
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import evenly_spaced_indices
from diffrender.setup.fit_setup import FitSetup
from diffrender.writers.images.png import encode_srgb8
from diffrender.writers.report.progress_panels import ProgressPanels
from diffrender.writers.report.shape_picture import encode_view_normals, shape_grid, write_shape_picture

SHAPE, WORST = "shape.png", "worst.png"
# Views in shape.png, at most: they are large.
MOST_VIEWS = 4
# The width of a picture of the shape, in widths of the shape.
BORDER = 1.08


def write_shape(path: Path, setup: FitSetup, result: FitResult, shown: ShownViews) -> None:
    """Write clay and normals of the fitted scene, beside those of the target scene if that is known.

    Both are seen through the fitted cameras. Raises DataError if the file cannot be written.
    """
    index = evenly_spaced_indices(len(shown.views), MOST_VIEWS)
    cameras = shown.cameras(result.cameras).select(index)
    names = [shown.views.names[view] for view in index]
    scenes = {"": result.scene}
    if setup.target_scene is not None:
        scenes["true "] = setup.target_scene.to(setup.device)
    grid = shape_grid(len(index), 2 * len(scenes))
    cameras = _zoom_in(cameras, list(scenes.values()), grid.cell[0])
    columns = {
        f"{prefix}shape": encode_srgb8(render_clay(scene, cameras, grid.cell)) for prefix, scene in scenes.items()
    }
    columns |= {f"{prefix}normals": _render_normals(scene, cameras) for prefix, scene in scenes.items()}
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
