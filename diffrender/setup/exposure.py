"""Exposure and white balance of pictures: those of synthetic targets, and what a fit starts from."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from diffrender.config.options.targets import SyntheticOptions
from diffrender.config.schema import FitConfig
from diffrender.errors import ConfigError
from diffrender.evaluate.exposure import EXPOSURE, WHITE_BALANCE, with_gains
from diffrender.scene.cameras import Cameras
from diffrender.scene.views import Views

# Fractional parts of the multiples of an irrational number are spread evenly over 0..1; one for exposures and one for
# each channel, so that they have nothing to do with one another (the roots of 2, 3, 5 and 7).
SPREADS = (2**0.5, 3**0.5, 5**0.5, 7**0.5)


def with_learned_gains(views: Views, config: FitConfig) -> Views:
    """The fitted views whose cameras have the exposures and white balances that `config` learns.

    config: with its background filled in. Raises ConfigError where they cannot be learned.
    """
    paths = [path for path in (EXPOSURE, WHITE_BALANCE) if path in config.optimize.parameters()]
    if not paths and views.cameras.gains() is None:
        return views
    if paths and len(views) < 2:
        raise ConfigError(
            f"optimize.{paths[0]}: there is one fitted view, and only differences between pictures can be known; take"
            " it out, and learn the light instead"
        )
    # Their reader put it there, and so it is in no camera's exposure; what a random background adds is in none either.
    is_pasted = config.targets.path is not None and (views.masks is not None or views.is_composited)
    if is_pasted and any(config.background or ()):
        raise ConfigError(
            f"{f'optimize.{paths[0]}' if paths else config.targets.path}: exposures act on whole pictures, but the"
            " background behind masked or transparent photographs was never exposed; write background: black"
        )
    return replace(views, cameras=with_gains(views.cameras, paths))


def synthetic_gains(cameras: Cameras, options: SyntheticOptions) -> Cameras:
    """`cameras` that expose and balance each picture differently, as `options` ask for."""
    exposure, white_balance = cameras.exposure, cameras.white_balance
    if options.exposure_stops > 0:
        exposure = options.exposure_stops * _low_discrepancy(len(cameras), SPREADS[0])
    if options.color_cast > 0:
        white_balance = 1 + options.color_cast * torch.stack(
            [_low_discrepancy(len(cameras), each) for each in SPREADS[1:]], 1
        )
    return replace(cameras, exposure=exposure, white_balance=white_balance)


def _low_discrepancy(count: int, irrational: float) -> Tensor:
    """[count] numbers in -1..1."""
    steps = torch.arange(1, count + 1, dtype=torch.float64)
    return (2 * (steps * irrational).frac() - 1).float()
