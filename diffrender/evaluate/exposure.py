"""Exposure and white balance per picture: added to the fitted cameras, matched in closed form for held-out views."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from diffrender.imaging.color import is_clipped
from diffrender.imaging.response import straight_response, undo_response
from diffrender.render.render import RenderViews
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views

EXPOSURE, WHITE_BALANCE = "cameras.exposure", "cameras.white_balance"
VIGNETTING, RESPONSE = "cameras.vignetting", "cameras.response"
PHOTOMETRY_PATHS = (EXPOSURE, WHITE_BALANCE, VIGNETTING, RESPONSE)
# Sums of squares at or below this do not determine a gain.
LEAST_LIGHT = 1e-8
# Bound of a gain in stops, for pictures that do not show the scene at all.
LARGEST_GAIN_STOPS = 10.0


def with_gains(cameras: Cameras, paths: Collection[str]) -> Cameras:
    """Return `cameras` with what `paths` name of PHOTOMETRY_PATHS, neutral if they had none."""
    like, n_views = cameras.focal_px, len(cameras)
    neutral = {
        EXPOSURE: like.new_zeros(n_views),
        WHITE_BALANCE: like.new_ones(n_views, 3),
        VIGNETTING: like.new_zeros(n_views, 3),
        RESPONSE: straight_response().to(like).repeat(n_views, 1),
    }
    fields = {path.removeprefix("cameras."): value for path, value in neutral.items() if path in paths}
    missing = {name: value for name, value in fields.items() if getattr(cameras, name) is None}
    return replace(cameras, **missing)


def with_shared_lens(cameras: Cameras, start: Cameras, fitted: Cameras, paths: Collection[str]) -> Cameras:
    """Return `cameras`, of views that were not fitted, with what is learned of the one lens that all share.

    start, fitted: the cameras of the fitted views before and after. paths: those learned as shared by all views.
    """
    changed: dict[str, Any] = {}
    for path in (VIGNETTING, RESPONSE):
        if path in paths:
            name = path.removeprefix("cameras.")
            changed[name] = getattr(fitted, name).detach()[:1].expand(len(cameras), -1)
    lens = cameras.projection
    for name, values in lens.parameters().items():
        if f"cameras.{name}" in paths:
            own = fitted.projection.parameters()[name].detach()[:1].expand_as(values)
            changed["projection"] = lens = replace(lens, **{name: own})  # type: ignore[type-var]
    if "cameras.focal" in paths:
        changed["focal_px"] = cameras.focal_px * (fitted.focal_px / start.focal_px).detach()[:1]
    if "cameras.center" in paths:
        shift = ((fitted.center_px - start.center_px) / start.focal_px).detach()[:1]
        changed["center_px"] = cameras.center_px + shift * cameras.focal_px
    return replace(cameras, **changed)


@torch.no_grad()
def match_exposure(scene: Scene, views: Views, render_views: RenderViews, paths: Collection[str]) -> Cameras:
    """Return the cameras of `views` with the gains that best match the renderings of `scene` to the images.

    The exposure of a held-out picture is unknown, so it is evaluated at its best exposure, by least squares in closed
    form: per view, the gains g that minimise sum (g rendering - image)^2 in linear light, with what the response did
    to the image undone. Clipped values do not count, and others by the weight of their pixel.
    paths: which of the two were learned. EXPOSURE alone: one gain per view, on top of its white balance. With
        WHITE_BALANCE: one gain per channel, whose mean in stops is added to an exposure that is not learned.
    """
    cameras = views.cameras
    if EXPOSURE not in paths and WHITE_BALANCE not in paths:
        return cameras
    known = replace(
        cameras,
        exposure=None if EXPOSURE in paths else cameras.exposure,
        white_balance=None if WHITE_BALANCE in paths else cameras.white_balance,
        response=None,
    )
    sums_of_views = []
    for view in range(len(cameras)):
        rendered = render_views(scene, known.select([view])).rgba[0, ..., :3]
        weights = None if views.weights is None else views.weights[view]
        light = views.images[[view]]
        if cameras.response is not None:
            light = undo_response(light, cameras.response[[view]])
        sums_of_views.append(_least_squares_sums(rendered, light[0], weights))
    sums = torch.stack(sums_of_views)  # [N, 2, 3]
    if WHITE_BALANCE not in paths:
        sums = sums.sum(-1, keepdim=True)
    products, squares = sums.unbind(1)
    best = torch.where(squares > LEAST_LIGHT, products / squares.clamp_min(LEAST_LIGHT), torch.ones_like(squares))
    stops = best.clamp_min(2**-LARGEST_GAIN_STOPS).log2().clamp(-LARGEST_GAIN_STOPS, LARGEST_GAIN_STOPS)
    exposure, rest = stops.mean(1), stops - stops.mean(1, keepdim=True)
    if known.exposure is not None:
        exposure = exposure + known.exposure
    white_balance = torch.exp2(rest) if WHITE_BALANCE in paths else known.white_balance
    return replace(cameras, exposure=exposure, white_balance=white_balance)


def _least_squares_sums(rendered: Tensor, image: Tensor, weights: Tensor | None) -> Tensor:
    """Return [2, 3]: sums of rendering * image and of rendering^2 per channel, over pixels that are not clipped.

    weights: [H, W] of the pixels, or None.
    """
    rendered = rendered * ~is_clipped(image)
    counted = rendered
    if weights is not None:
        weights = weights[..., None]
        counted, image = weights * rendered, torch.where(weights > 0, image, 0)
    return torch.stack([(counted * image).sum((0, 1)), (counted * rendered).sum((0, 1))])
