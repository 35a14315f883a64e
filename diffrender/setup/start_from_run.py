"""Start from the result of another run (`from:`): its scene, and its cameras where the views are the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from diffrender.config.schema import FitConfig
from diffrender.errors import ConfigError, DataError
from diffrender.imaging.response import straight_response
from diffrender.scene.move_scene import move_cameras, move_scene
from diffrender.scene.projections.perspective import Perspective
from diffrender.scene.projections.radial_tangential import RadialTangential
from diffrender.scene.quantity_kinds import map_tensors
from diffrender.scene.target_views import Views
from diffrender.setup.best_defaults import DECAYING, Chosen
from diffrender.setup.lens import undistorted
from diffrender.setup.saved_scene import SCENE_FILE, SavedScene, load_scene
from diffrender.setup.scene import BuiltScene
from diffrender.setup.targets import Targets
from diffrender.writers.run.run_folder import follow_latest


def load_result(path: str, targets: Targets) -> SavedScene:
    """Return the fitted scene of the run in the folder `path`, or that its file `latest` names, where the targets are.

    Behind images that were composited is the background of the targets. Raises DataError if there is no fitted scene.
    """
    folder = follow_latest(Path(path))
    file = folder / SCENE_FILE
    if not file.is_file():
        raise DataError(
            f"{folder}: has no fitted scene ({SCENE_FILE}); give the folder of a run that has ended, such as"
            " outputs/<scene>/latest"
        )
    saved = load_scene(file)
    origin = targets.place.origin
    by = [there - here for there, here in zip(saved.origin, origin, strict=True)]
    dtype = saved.cameras.cam_from_world.dtype
    cameras = move_cameras(saved.cameras, by)
    cameras = replace(cameras, cam_from_world=cameras.cam_from_world.to(dtype))
    scene = map_tensors(
        move_scene(saved.scene, by), lambda value: value.to(dtype) if value.is_floating_point() else value
    )
    # What counts as numbers and times stays as precise as it is.
    motion = scene.motion
    if motion is not None and saved.scene.motion is not None:
        motion = replace(motion, times=saved.scene.motion.times)
    scene = replace(scene, program=saved.scene.program, motion=motion)
    if targets.fit.is_composited:
        scene = replace(scene, background=scene.background.new_tensor(targets.background))
    return SavedScene(scene, cameras, saved.names, origin)


def from_result(config: FitConfig, saved: SavedScene) -> tuple[Chosen, BuiltScene[FitConfig]]:
    """Return how a run's result is learned, rates that decay, and the result as a built scene."""
    config = config.model_copy(update={"background": tuple(saved.scene.background.tolist())})
    names = {name: [name] for name in saved.scene.objects}
    return Chosen(config, {}, DECAYING, DECAYING), BuiltScene(saved.scene, config, [], names)


def with_cameras_of(views: Views, saved: SavedScene) -> Views:
    """Return `views` with the poses, lenses, gains and blur of the run's cameras, at views of the same names.

    Photographs of several sizes keep their own lenses if the run saw them at another size, since each is shrunk by
    itself; so do all if its images had another shape, as canvases about such photographs have.
    Raises ConfigError if the run's cameras have another kind of projection.
    """
    here = [index for index, name in enumerate(views.names) if name in saved.names]
    if not here:
        return views
    there = saved.cameras.select([saved.names.index(views.names[index]) for index in here])
    if isinstance(there.projection, RadialTangential) and isinstance(views.cameras.projection, Perspective):
        views = replace(views, cameras=replace(views.cameras, projection=undistorted(len(views), views)))
    if type(there.projection) is not type(views.cameras.projection):
        raise ConfigError("from: the run's cameras have another projection than those of the targets")
    size, former = (views.cameras.height, views.cameras.width), (there.height, there.width)
    # Sizes are rounded to whole pixels.
    is_other_shape = abs(former[0] * size[1] - former[1] * size[0]) > max(sum(former), sum(size)) / 2
    if is_other_shape or (views.boxes is not None and former != size):
        own = views.cameras.select(here)
        there = replace(there, focal_px=own.focal_px, center_px=own.center_px, height=size[0], width=size[1])
    there = there.resized(*size)
    own = views.cameras.projection
    placed = {
        name: _placed(value, here, there.projection.parameters()[name]) for name, value in own.parameters().items()
    }
    cameras = replace(
        views.cameras,
        projection=replace(own, **placed),  # type: ignore[type-var]
        cam_from_world=_placed(views.cameras.cam_from_world, here, there.cam_from_world),
        focal_px=_placed(views.cameras.focal_px, here, there.focal_px),
        center_px=_placed(views.cameras.center_px, here, there.center_px),
        exposure=_gains(views.cameras.exposure, len(views), here, there.exposure, torch.zeros(())),
        white_balance=_gains(views.cameras.white_balance, len(views), here, there.white_balance, torch.ones(3)),
        vignetting=_gains(views.cameras.vignetting, len(views), here, there.vignetting, torch.zeros(3)),
        response=_gains(views.cameras.response, len(views), here, there.response, straight_response()),
        blur_px=views.cameras.blur_px if there.blur_px is None else there.blur_px,
    )
    return replace(views, cameras=cameras)


def _placed(values: torch.Tensor, rows: list[int], new: torch.Tensor) -> torch.Tensor:
    return values.index_copy(0, torch.tensor(rows), new.to(values.dtype))


def _gains(
    own: torch.Tensor | None, count: int, rows: list[int], new: torch.Tensor | None, neutral: torch.Tensor
) -> torch.Tensor | None:
    """Return gains of all views, neutral where neither the targets nor the run have any."""
    if new is None:
        return own
    values = neutral.expand(count, *neutral.shape).clone() if own is None else own
    return _placed(values, rows, new)
