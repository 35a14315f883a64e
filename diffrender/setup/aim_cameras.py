"""Aim cameras that are to be refined: turn them so that all see the middle of their masks at one point."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch

from diffrender.config.schema import FitConfig
from diffrender.scene.turn_cameras import turn_cameras, turns_between_pixels
from diffrender.setup.region import mask_discs, region_of_views, sight_of_views
from diffrender.setup.targets import Targets

# The middle of a mask is not the image of one point: on exact cameras of a long object they disagree by this many radii
# (root mean square; .17 for a fish, .12 for a dinosaur). Beyond, cameras are at fault.
AGREEING = 0.2


class Aimed(NamedTuple):
    """targets: with cameras that were turned. reason: why, or None if they were left as they are."""

    targets: Targets
    reason: str | None


def aim_cameras(targets: Targets, config: FitConfig) -> Aimed:
    """Turn the fitted cameras about their centres to their masks, if `cameras.pose` is learned and they are off.

    An error of few degrees shifts an image by a part of the object, with a long lens by half of it, and no fit can
    start there: the visual hull of such masks is a fraction of the object, or empty. A turn in closed form undoes
    that.
    """
    views = targets.fit
    if "cameras.pose" not in config.optimize.parameters() or views.masks is None or config.from_run is not None:
        return Aimed(targets, None)
    sight = sight_of_views(views)
    if len(views) < 3 or not sight.is_met or sight.is_narrow or views.cameras.projection.default_near <= 0:
        return Aimed(targets, None)
    seen_px = views.cameras.world_to_pixels(sight.point.to(views.images)[None])[:, 0, :2]
    turns = turns_between_pixels(views.cameras, seen_px, mask_discs(views)[0]) * (sight.cosines > 0)[:, None].float()
    distance = (views.cameras.positions_w() - sight.point.to(turns)).norm(dim=1)
    shift = (turns.norm(dim=1) * distance).square().mean().sqrt() / targets.place.region.radius
    if float(shift) < AGREEING:
        return Aimed(targets, None)
    views = replace(views, cameras=turn_cameras(views.cameras, turns))
    place = targets.place._replace(views=views)
    if place.box is None:
        place = place._replace(region=region_of_views(views))
    angles = torch.rad2deg(turns.norm(dim=1))
    reason = (
        f"cameras are turned by {float(angles.mean()):.2g} degrees on average, at most {float(angles.max()):.2g},"
        " since their masks are not around one point"
    )
    return Aimed(targets._replace(fit=views, place=place), reason)
