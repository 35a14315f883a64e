"""Exposure and white balance of each picture: what is learned of the fitted ones, and what others are judged by."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import torch
from torch import Tensor

from diffrender.fit.loss_inputs import is_clipped
from diffrender.render.render import RenderViews
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene
from diffrender.scene.views import Views

EXPOSURE, WHITE_BALANCE = "cameras.exposure", "cameras.white_balance"
# Darker than this, a rendering says nothing of a gain.
LEAST_LIGHT = 1e-8
# Gains of pictures that do not show the scene at all stay within so many stops.
MOST_STOPS = 10.0


def with_gains(cameras: Cameras, paths: Collection[str]) -> Cameras:
    """`cameras` with those of exposure and white balance that are among `paths`, neutral where they had none."""
    exposure, white_balance = cameras.exposure, cameras.white_balance
    if EXPOSURE in paths and exposure is None:
        exposure = cameras.focal_px.new_zeros(len(cameras))
    if WHITE_BALANCE in paths and white_balance is None:
        white_balance = cameras.focal_px.new_ones(len(cameras), 3)
    return replace(cameras, exposure=exposure, white_balance=white_balance)


@torch.no_grad()
def match_exposure(scene: Scene, views: Views, render_views: RenderViews, paths: Collection[str]) -> Cameras:
    """The cameras of `views` with the gains that bring the renderings of `scene` nearest to their images.

    Nobody can know how a picture that was held out was exposed; so it is judged at its best exposure, in closed form:
    the gains g of each view that make sum (g rendering - image)^2 least, in linear light. Clipped values do not
    count.
    paths: what of it was learned. EXPOSURE alone gives a view one gain, on top of the white balance that it has; with
        WHITE_BALANCE it has one for each channel, whose mean in stops is added to an exposure that is not learned.
    """
    cameras = views.cameras
    if EXPOSURE not in paths and WHITE_BALANCE not in paths:
        return cameras
    known = replace(
        cameras,
        exposure=None if EXPOSURE in paths else cameras.exposure,
        white_balance=None if WHITE_BALANCE in paths else cameras.white_balance,
    )
    gains = []
    for view in range(len(cameras)):
        rendered = render_views(scene, known.select([view])).rgba[0, ..., :3]
        gains.append(_gains(rendered, views.images[view]))
    sums = torch.stack(gains)  # [N, 2, 3]
    if WHITE_BALANCE not in paths:
        sums = sums.sum(-1, keepdim=True)
    products, squares = sums.unbind(1)
    best = torch.where(squares > LEAST_LIGHT, products / squares.clamp_min(LEAST_LIGHT), torch.ones_like(squares))
    stops = best.clamp_min(2**-MOST_STOPS).log2().clamp(-MOST_STOPS, MOST_STOPS)
    exposure, rest = stops.mean(1), stops - stops.mean(1, keepdim=True)
    if known.exposure is not None:
        exposure = exposure + known.exposure
    white_balance = torch.exp2(rest) if WHITE_BALANCE in paths else known.white_balance
    return replace(cameras, exposure=exposure, white_balance=white_balance)


def _gains(rendered: Tensor, image: Tensor) -> Tensor:
    """[2, 3] the sums of rendering times image and of rendering times rendering, over the pixels that count."""
    rendered = rendered * ~is_clipped(image)
    return torch.stack([(rendered * image).sum((0, 1)), rendered.square().sum((0, 1))])
