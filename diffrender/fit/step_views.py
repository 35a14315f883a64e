"""What a step compares: views at the resolution of the moment, over the background of the moment."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from diffrender.errors import ConfigError
from diffrender.fit.batches import EPOCH_STRIDE
from diffrender.imaging.color import linear_from_srgb
from diffrender.imaging.filters import resize_area
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene
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
        height, width = _scaled(views.cameras, self.scale)
        if self.scale < 1 and min(height, width) < FEWEST_PX:
            raise ConfigError(
                f"optimize.resolution: images of {views.cameras.width} x {views.cameras.height} become {width} x"
                f" {height} at a scale of {self.scale:g}; take a scale that leaves at least {FEWEST_PX} pixels a side"
            )


class StepViews:
    """The scene, cameras and targets of each step of a fit.

    views: all of them, whole, over the background of the scene that is fitted.
    random_background: at each step, one colour behind renderings and targets alike, drawn from `seed` and the step
        alone. What is background in one and object in the other then differs at some step whatever its colour is.
    """

    def __init__(self, views: Views, resolution: ResolutionSchedule, random_background: bool, seed: int) -> None:
        self._whole = self._views = views
        self._resolution = resolution
        self._random_background = random_background
        self._seed = seed

    def at(self, scene: Scene, cameras: Cameras, index: Tensor | None, step: int) -> tuple[Scene, Cameras, Views]:
        """What `step` compares for the views at `index`, None for all.

        scene, cameras: as they are now, all cameras and whole images.
        """
        height, width = _scaled(self._whole.cameras, self._resolution.at(step))
        if (height, width) != (self._views.cameras.height, self._views.cameras.width):
            self._views = _resized(self._whole, height, width)
        views = self._views
        if index is not None:
            views, cameras = views.select(index), cameras.select(index)
        if (height, width) != (cameras.height, cameras.width):
            cameras = cameras.resized(height, width)
        if self._random_background:
            scene, views = _over(scene, views, self._color(step).to(scene.background))
        return scene, cameras, views

    def _color(self, step: int) -> Tensor:
        """[3] linear RGB, evenly spread in sRGB, the space that most losses compare in."""
        generator = torch.Generator().manual_seed(self._seed * EPOCH_STRIDE + step)
        return linear_from_srgb(torch.rand(3, generator=generator))


def check_step_views(views: Views, resolution: ResolutionSchedule, random_background: bool) -> None:
    """Raise ConfigError for a random background without masks, and where images would become too small."""
    if random_background and views.masks is None:
        raise ConfigError(
            "targets.background: random wants masks, which say where the background is; give images with an alpha"
            " channel or a mask_path for every frame, or a fixed colour"
        )
    resolution.check(views)


def _scaled(cameras: Cameras, scale: float) -> tuple[int, int]:
    return max(1, round(cameras.height * scale)), max(1, round(cameras.width * scale))


def _resized(views: Views, height: int, width: int) -> Views:
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


def _over(scene: Scene, views: Views, color: Tensor) -> tuple[Scene, Views]:
    """Scene and views over another colour: exact, since images hold the old one times what masks leave free."""
    assert views.masks is not None
    free = 1 - views.masks[..., None]
    images = views.images + free * (color - scene.background)
    return replace(scene, background=color), replace(views, images=images)
