"""What a step compares: views at the resolution of the moment, over the backgrounds of the moment."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from diffrender.errors import ConfigError
from diffrender.fit.batches import EPOCH_STRIDE
from diffrender.imaging.filters import resize_area
from diffrender.scene.cameras import Cameras
from diffrender.scene.views import Views

# Fewer pixels along a side than this tell next to nothing of a shape.
FEWEST_PX = 8


@dataclass(frozen=True)
class ResolutionSchedule:
    """Smaller images at first: early steps are cheap, and what is far off still overlaps.

    scale: of the first images, in (0, 1]; it doubles until it is 1.
    until: the first step with whole images; the sizes before it share the steps evenly.
    """

    scale: float = 1.0
    until: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.scale <= 1:
            raise ConfigError(f"resolution: scale must lie above 0 and up to 1, got {self.scale}")
        if self.until < 1:
            raise ConfigError(f"resolution: until must be at least step 1, got {self.until}")

    def at(self, step: int) -> float:
        """The scale of a step, counted from 0."""
        if step >= self.until:
            return 1.0
        # 0.25: two sizes before the whole one, 0.25 and 0.5.
        n_sizes = math.ceil(-math.log2(self.scale))
        return min(1.0, self.scale * 2 ** (step * n_sizes // self.until))

    def check(self, views: Views) -> None:
        """Raise ConfigError where the first images would be too small."""
        height, width = _scale_views(views.cameras, self.scale)
        if self.scale < 1 and min(height, width) < FEWEST_PX:
            raise ConfigError(
                f"optimize.resolution: images of {views.cameras.width} x {views.cameras.height} become {width} x"
                f" {height} at a scale of {self.scale:g}; take a scale that leaves at least {FEWEST_PX} pixels a side"
            )


class StepViews:
    """The cameras and targets of each step of a fit, and what lies behind them.

    views: all of them, whole; for random backgrounds, over the background of the scene that is fitted.
    random_background: at each step, a colour for each view, behind rendering and target alike, drawn from `seed` and
        the step alone. What is background in one and object in the other then differs at most steps, whatever its
        colour is.
    """

    def __init__(self, views: Views, resolution: ResolutionSchedule, random_background: bool, seed: int) -> None:
        self._whole = self._views = views
        self._resolution = resolution
        self._random_background = random_background
        self._seed = seed

    def at(self, cameras: Cameras, index: Tensor | None, step: int) -> tuple[Cameras, Views]:
        """What `step` compares for the views at `index`, None for all.

        cameras: as they are now, all of them and for whole images.
        """
        height, width = _scale_views(self._whole.cameras, self._resolution.at(step))
        if (height, width) != (self._views.cameras.height, self._views.cameras.width):
            self._views = _resize_views(self._whole, height, width)
        views = self._views
        if index is not None:
            views, cameras = views.select(index), cameras.select(index)
        if (height, width) != (cameras.height, cameras.width):
            cameras = cameras.resized(height, width)
        return cameras, views

    def added_background(self, background: Tensor, n_views: int, step: int) -> Tensor | None:
        """[n_views, 3] what must be added to `background` [3], linear, for the backgrounds of `step`; None for nothing.

        Each channel is either dark or bright, so that no colour of an object lies beyond it: an outline that begins to
        cover a pixel is then pulled the right way in all of them, whatever its colour and the target's. Over colours
        between, an outline whose colour is wrong is pulled the wrong way in some.
        """
        if not self._random_background:
            return None
        generator = torch.Generator().manual_seed(self._seed * EPOCH_STRIDE + step)
        return torch.randint(0, 2, (n_views, 3), generator=generator).to(background) - background


def check_step_views(views: Views, resolution: ResolutionSchedule, random_background: bool) -> None:
    """Raise ConfigError for a random background without masks, and where images would become too small."""
    if random_background and views.masks is None:
        raise ConfigError(
            "targets.background: random wants masks, which say where the background is; give images with an alpha"
            " channel or a mask_path for every frame, or a fixed colour"
        )
    resolution.check(views)


def _scale_views(cameras: Cameras, scale: float) -> tuple[int, int]:
    return max(1, round(cameras.height * scale)), max(1, round(cameras.width * scale))


def _resize_views(views: Views, height: int, width: int) -> Views:
    if (height, width) == (views.cameras.height, views.cameras.width):
        return views
    masks = views.masks
    return replace(
        views,
        cameras=views.cameras.resized(height, width),
        images=resize_area(views.images, height, width),
        masks=None if masks is None else resize_area(masks[..., None], height, width)[..., 0],
        buffers={name: resize_area(values, height, width) for name, values in views.buffers.items()},
    )
