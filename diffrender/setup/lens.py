"""The lens of views whose distortion is learned: a pinhole that can be distorted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from diffrender.config.options.parameters import DISTORTION
from diffrender.config.schema import FitConfig
from diffrender.errors import ConfigError
from diffrender.scene.projections.perspective import Perspective
from diffrender.scene.projections.radial_tangential import RadialTangential
from diffrender.scene.target_views import Views


def with_learned_distortion(views: Views, config: FitConfig) -> Views:
    """Return `views` with cameras that have the distortion that `config` learns, 0 at first.

    What the capture says of the lens is undone in its images, so it is what is left of it. Raises ConfigError for
    cameras that are no pinholes.
    """
    paths = [path for path in DISTORTION if path in config.optimize.parameters()]
    projection = views.cameras.projection
    if not paths or isinstance(projection, RadialTangential):
        return views
    if not isinstance(projection, Perspective):
        kind = type(projection).__name__.lower()
        raise ConfigError(
            f"optimize.{paths[0]}: is of perspective cameras, but those of the targets are {kind}; remove it"
        )
    return replace(views, cameras=replace(views.cameras, projection=undistorted(len(views), views)))


def with_lens_of(views: Views, fitted: Views) -> Views:
    """Return held-out `views` with the lens of the fitted ones, where it is one lens and their capture tells none."""
    cameras, lens = views.cameras, fitted.cameras
    changed: dict[str, Any] = {}
    for name in ("vignetting", "response"):
        value = getattr(lens, name)
        if value is not None and getattr(cameras, name) is None and _is_one(value):
            changed[name] = value[:1].repeat(len(views), 1)
    if isinstance(lens.projection, RadialTangential) and isinstance(cameras.projection, Perspective):
        values = lens.projection.parameters()
        is_one = all(_is_one(value) for value in values.values())
        rows = {name: value[:1].repeat(len(views)) * is_one for name, value in values.items()}
        changed["projection"] = RadialTangential(**rows)
    return replace(views, cameras=replace(cameras, **changed))


def _is_one(values: Tensor) -> bool:
    return torch.equal(values, values[:1].expand_as(values))


def undistorted(count: int, views: Views) -> RadialTangential:
    """Return the lens of `count` cameras that distorts nothing, where and as the cameras of `views` are."""
    like = views.cameras.focal_px
    return RadialTangential(*like.new_zeros(4, count))
