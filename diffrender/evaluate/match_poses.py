"""Poses of held-out views: refined against their own pictures, the scene fixed, as those of fitted views are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from diffrender.evaluate.views import CHUNK
from diffrender.fit.batch_targets import ResolutionSchedule, StepViews
from diffrender.fit.loss_inputs import LossInputs
from diffrender.fit.model import SceneModel
from diffrender.fit.objective import Loss, Objective
from diffrender.fit.optimizer.fit_optimizer import FitOptimizer, ParamSettings
from diffrender.fit.optimizer.schedules import Exponential
from diffrender.fit.parametrizations.camera_poses import CameraPoses
from diffrender.render.render import RenderOutput
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views, centroids_px
from diffrender.scene.turn_cameras import turn_cameras, turns_between_pixels

POSE = "cameras.pose"
# A picture of this long side says where its camera is; the last steps see all of it.
SMALL_SIDE, SMALL_UNTIL = 200, 0.8
STEPS = 40
RATE = ParamSettings(0.02, schedule=Exponential(0.03))
# The second turn corrects what the first, of a whole object that was partly out of the picture, did not.
AIMING = 2


def match_poses(
    scene: Scene,
    views: Views,
    objective: Objective,
    render: Callable[[Scene, Cameras], RenderOutput],
    poses: CameraPoses,
) -> Cameras:
    """Return the cameras of `views` at poses that best show the pictures of each: a turn, then steps on the pose alone.

    Where fitted cameras are refined, those of held-out views are as wrong as these were, and their scores would be of
    that error. Nothing but its own pose is learned from a held-out picture.
    objective: its losses on images are minimised. poses: the parametrisation of the fitted cameras.
    """
    terms = [term for term in objective.terms if isinstance(term.measure, Loss)]
    own = tuple(term for term in terms if views.masks is not None or not term.measure.needs_masks)
    parts = [
        _match(scene, views.select(list(range(start, min(start + CHUNK, len(views))))), Objective(own), render, poses)
        for start in range(0, len(views), CHUNK)
    ]
    return replace(views.cameras, cam_from_world=torch.cat(parts))


def _match(
    scene: Scene,
    views: Views,
    objective: Objective,
    render: Callable[[Scene, Cameras], RenderOutput],
    poses: CameraPoses,
) -> Tensor:
    """Return the matched poses [N, 4, 4] of a few views."""
    cameras = _aim(scene, views, render) if views.masks is not None else views.cameras
    side = max(cameras.height, cameras.width)
    small = ResolutionSchedule(min(1.0, SMALL_SIDE / side), max(1, round(SMALL_UNTIL * STEPS)))
    shown = StepViews(views, small, False, 0)
    # Each by itself: the shape is known, and holds its camera.
    model = SceneModel(scene, cameras, {POSE: replace(poses, start=None, keeps_frame=False)})
    optimizer = FitOptimizer(model, {POSE: RATE}, STEPS)
    with torch.enable_grad():
        for step in range(STEPS):
            optimizer.begin(step)
            at_step, targets = shown.at(model.cameras(), None, step)
            objective(LossInputs(render(scene, at_step), targets), scene).total.backward()
            optimizer.step()
    return model.snapshot()[1].cam_from_world


@torch.no_grad()
def _aim(scene: Scene, views: Views, render: Callable[[Scene, Cameras], RenderOutput]) -> Cameras:
    """Turn the cameras of `views` until the scene is in the middle of their masks."""
    cameras, masks = views.cameras, views.known_masks
    assert masks is not None
    wanted = centroids_px(masks)
    middle = torch.cat([item.vertices_w() for item in scene.objects.values()]).mean(0)
    for _ in range(AIMING):
        covered = render(scene, cameras).coverage
        covered = covered if views.weights is None else covered * views.weights
        is_seen = (covered.sum((1, 2)) > 1) & (masks.sum((1, 2)) > 1)
        seen = torch.where(is_seen[:, None], centroids_px(covered), cameras.world_to_pixels(middle[None])[:, 0, :2])
        cameras = turn_cameras(cameras, turns_between_pixels(cameras, seen, wanted))
    return cameras
