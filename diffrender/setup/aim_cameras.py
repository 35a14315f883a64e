"""Aim cameras that are to be refined: turn them so that their masks agree, as far as turns can make them."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.config.schema import FitConfig
from diffrender.scene.cameras import Cameras
from diffrender.scene.target_views import Views
from diffrender.scene.turn_cameras import turn_cameras, turns_between_pixels
from diffrender.setup.epipolar_tangents import measure_camera_errors
from diffrender.setup.mask_agreement import shrink_masks
from diffrender.setup.region import mask_discs, region_of_views, sight_of_views
from diffrender.setup.targets import Targets

# The middle of a mask is not the image of one point: on exact cameras of a long object they disagree by this many radii
# (root mean square; .17 for a fish, .12 for a dinosaur). Beyond, cameras are at fault.
AGREEING = 0.2
# Turns to the outlines: shifts are turns if they are small, so that what large ones leave is found again.
ROUNDS = 3


class Aimed(NamedTuple):
    """targets: with cameras that were turned. reason: why, or None if they were left as they are."""

    targets: Targets
    reason: str | None


def aim_cameras(targets: Targets, config: FitConfig) -> Aimed:
    """Turn the fitted cameras about their centres to their masks, if `cameras.pose` is learned and they are off.

    An error of few degrees shifts an image by a part of the object, with a long lens by half of it, and no fit can
    start there: the visual hull of such masks is a fraction of the object, or empty; one of a tenth of a degree cuts
    off its thin parts. Turns in closed form undo that: first to the middles of masks, then to their outlines.
    """
    views = targets.fit
    if "cameras.pose" not in config.optimize.parameters() or views.masks is None or config.from_run is not None:
        return Aimed(targets, None)
    sight = sight_of_views(views)
    if len(views) < 3 or not sight.is_met or sight.is_narrow or views.cameras.projection.default_near <= 0:
        return Aimed(targets, None)
    cameras = _turn_to_outlines(_turn_to_middles(views, targets.place.region.radius))
    if cameras is views.cameras:
        return Aimed(targets, None)
    before, views = views.cameras.cam_from_world, replace(views, cameras=cameras)
    place = targets.place._replace(views=views)
    if place.box is None:
        place = place._replace(region=region_of_views(views))
    angles = torch.rad2deg(_angles_between(before, cameras.cam_from_world))
    reason = (
        f"cameras are turned by {float(angles.mean()):.2g} degrees on average, at most {float(angles.max()):.2g}, to"
        " where their masks agree"
    )
    return Aimed(targets._replace(fit=views, place=place), reason)


def _turn_to_middles(views: Views, radius: float) -> Views:
    """Return `views` with cameras that see one point at the middles of their masks, if they are far off."""
    sight = sight_of_views(views)
    seen_px = views.cameras.world_to_pixels(sight.point.to(views.images)[None])[:, 0, :2]
    turns = turns_between_pixels(views.cameras, seen_px, mask_discs(views)[0]) * (sight.cosines > 0)[:, None].float()
    distance = (views.cameras.positions_w() - sight.point.to(turns)).norm(dim=1)
    shift = (turns.norm(dim=1) * distance).square().mean().sqrt() / radius
    return views if float(shift) < AGREEING else replace(views, cameras=turn_cameras(views.cameras, turns))


def _turn_to_outlines(views: Views) -> Cameras:
    """Return cameras that see tangent planes where the outlines of the masks are, if they are at fault."""
    small, cameras = shrink_masks(views), views.cameras
    for _ in range(ROUNDS):
        found = measure_camera_errors(small)
        if found is None or not found.are_of_cameras:
            break
        middle_px = mask_discs(small)[0]
        # A picture that is shifted one way is that of a camera whose points are seen the other way.
        turns = turns_between_pixels(small.cameras, middle_px, middle_px - found.px.float())
        small = replace(small, cameras=turn_cameras(small.cameras, turns))
        cameras = turn_cameras(cameras, turns)
    return cameras


def _angles_between(one: Tensor, other: Tensor) -> Tensor:
    """Return the angles [N] in radians between the rotations of poses [N, 4, 4]."""
    turn = other[:, :3, :3] @ one[:, :3, :3].mT
    axis = torch.stack([turn[:, 2, 1] - turn[:, 1, 2], turn[:, 0, 2] - turn[:, 2, 0], turn[:, 1, 0] - turn[:, 0, 1]], 1)
    return torch.atan2(axis.norm(dim=1), torch.einsum("nii->n", turn) - 1)
