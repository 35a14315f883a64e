"""Exposure, white balance and blur of views: those of synthetic targets, and the initial ones of a fit."""

from __future__ import annotations

from dataclasses import replace

import torch

from diffrender.config.options.targets import SyntheticOptions
from diffrender.config.scene_dependent_defaults import BLUR_PX
from diffrender.config.schema import FitConfig
from diffrender.errors import ConfigError
from diffrender.evaluate.exposure import EXPOSURE, PHOTOMETRY_PATHS, WHITE_BALANCE, with_gains
from diffrender.scene.cameras import Cameras
from diffrender.scene.target_views import Views
from diffrender.setup.low_discrepancy import low_discrepancy

BLUR = "cameras.blur"
# One for exposures and one per channel (setup.low_discrepancy).
IRRATIONALS = (2**0.5, 3**0.5, 5**0.5, 7**0.5)


def with_learned_gains(views: Views, config: FitConfig) -> Views:
    """Return `views` whose cameras have what `config` learns of exposure, white balance, vignetting and response.

    config: with its background filled in. Raises ConfigError if they cannot be learned.
    """
    paths = [path for path in PHOTOMETRY_PATHS if path in config.optimize.parameters()]
    if not paths and not views.cameras.is_exposed():
        return views
    per_view = [path for path in paths if path in (EXPOSURE, WHITE_BALANCE)]
    if per_view and len(views) < 2:
        raise ConfigError(
            f"optimize.{per_view[0]}: needs at least 2 fitted views, got 1: only differences between views can be"
            " learned; remove it and optimise the light instead"
        )
    # The reader composited it, so it was not exposed by any camera; neither is a random background.
    is_pasted = config.targets.path is not None and views.is_composited
    if is_pasted and any(config.background or ()):
        raise ConfigError(
            f"{f'optimize.{paths[0]}' if paths else config.targets.path}: exposure scales the whole image, but the"
            " background behind masked or transparent photographs was not exposed; set background: black"
        )
    return replace(views, cameras=with_gains(views.cameras, paths))


def with_learned_blur(views: Views, config: FitConfig) -> Views:
    """Return `views` whose cameras have the blur that `config` learns; a small one if none is known.

    Raises ConfigError for random backgrounds, which are drawn behind sharp silhouettes.
    """
    cameras = views.cameras
    if BLUR not in config.optimize.parameters():
        return views
    if config.targets.background == "random":
        raise ConfigError(
            f"optimize.{BLUR}: random backgrounds have sharp silhouettes before them, which blur cannot explain; remove"
            " it, or targets.background"
        )
    if cameras.blur_px is not None:
        return views
    return replace(views, cameras=replace(cameras, blur_px=cameras.focal_px.new_tensor(BLUR_PX)))


def synthetic_gains(cameras: Cameras, options: SyntheticOptions) -> Cameras:
    """Return `cameras` with the exposures and white balances that `options` ask for, different in each view."""
    exposure, white_balance = cameras.exposure, cameras.white_balance
    if options.exposure_stops > 0:
        exposure = options.exposure_stops * low_discrepancy(len(cameras), IRRATIONALS[0])
    if options.color_cast > 0:
        white_balance = 1 + options.color_cast * torch.stack(
            [low_discrepancy(len(cameras), irrational) for irrational in IRRATIONALS[1:]], 1
        )
    return replace(cameras, exposure=exposure, white_balance=white_balance)
