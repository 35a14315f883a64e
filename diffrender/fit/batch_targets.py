"""Cameras and targets of one step: views at its resolution, over its backgrounds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from diffrender.errors import ConfigError
from diffrender.fit.batches import EPOCH_STRIDE
from diffrender.imaging.filters import resize_area
from diffrender.scene.cameras import Cameras
from diffrender.scene.target_views import Views

# Images with a shorter side than this show almost nothing of a shape.
FEWEST_PX = 8


@dataclass(frozen=True)
class ResolutionSchedule:
    """Coarse-to-fine resolution: smaller images first, so that early steps are cheap and distant shapes overlap.

    scale: of the first images, in (0, 1]; it doubles until it is 1.
    until: the first step at full resolution; the sizes before it share the steps evenly.
    """

    scale: float = 1.0
    until: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.scale <= 1:
            raise ConfigError(f"resolution: scale must be above 0 and at most 1, got {self.scale}")
        if self.until < 1:
            raise ConfigError(f"resolution: until must be at least step 1, got {self.until}")

    def at(self, step: int) -> float:
        """Return the scale of `step`, counted from 0."""
        if step >= self.until:
            return 1.0
        # scale = 0.25: two sizes before full resolution, 0.25 and 0.5.
        n_sizes = math.ceil(-math.log2(self.scale))
        return min(1.0, self.scale * 2 ** (step * n_sizes // self.until))

    def coarseness(self, step: int) -> float:
        """Return by how much target edge lengths are longer at `step` than at full size, at least 1.

        As much as pixels of the first images are wider than those of half size, until images are full size: at half
        size, an edge of two pixels shows as one; of what is smaller, images say nothing, and vertices would take up
        all faces that a mesh may have.
        """
        return max(1.0, 0.5 / self.scale) if step < self.until else 1.0

    def check(self, views: Views) -> None:
        """Raise ConfigError if the first images would be too small."""
        height, width = _scale_views(views.cameras, self.scale)
        if self.scale < 1 and min(height, width) < FEWEST_PX:
            raise ConfigError(
                f"optimize.resolution: images of {views.cameras.width} x {views.cameras.height} become {width} x"
                f" {height} at a scale of {self.scale:g}; choose a scale with at least {FEWEST_PX} pixels per side"
            )


class StepViews:
    """Provides the cameras, targets and background colours of each step of a fit.

    views: all views at full resolution; for random backgrounds, over the background of the scene that is fitted.
    random_background: draw one colour per view and step, from `seed` and the step alone, behind both rendering and
        target. Pixels that are background in one and object in the other then differ at most steps, whatever the
        colour of the object.
    """

    def __init__(self, views: Views, resolution: ResolutionSchedule, random_background: bool, seed: int) -> None:
        self._whole = self._views = views
        self._resolution = resolution
        self._random_background = random_background
        self._seed = seed

    @property
    def shape(self) -> tuple[int, int, int]:
        """The number of all views, and their height and width at full resolution."""
        return len(self._whole), self._whole.cameras.height, self._whole.cameras.width

    def at(self, cameras: Cameras, index: Tensor | None, step: int) -> tuple[Cameras, Views]:
        """Return the cameras and targets of `step` for the views at `index`, None for all.

        cameras: the current ones of all views, at full resolution.
        """
        height, width = _scale_views(self._whole.cameras, self._resolution.at(step))
        if (height, width) != (self._views.cameras.height, self._views.cameras.width):
            self._views = _resize_views(self._whole, height, width)
        views = self._views
        if index is not None:
            views, cameras = views.select(index), cameras.select(index.to(views.images.device))
        if (height, width) != (cameras.height, cameras.width):
            cameras = cameras.resized(height, width)
        return cameras, views

    def coarseness(self, step: int) -> float:
        """Return by how much target edge lengths are longer at `step` (ResolutionSchedule.coarseness)."""
        return self._resolution.coarseness(step)

    def draw_added_background(self, background: Tensor, n_views: int, step: int) -> Tensor | None:
        """Draw the offsets [n_views, 3], linear, from `background` [3] to the random backgrounds of `step`, or None.

        Each channel is either 0 or 1, so that no object colour is beyond it: a silhouette that begins to cover a pixel
        is then pulled in the right direction in all channels, whatever its colour and the target's. Over intermediate
        colours, a silhouette of the wrong colour is pulled in the wrong direction in some channels.
        """
        if not self._random_background:
            return None
        generator = torch.Generator().manual_seed(self._seed * EPOCH_STRIDE + step)
        return torch.randint(0, 2, (n_views, 3), generator=generator, device="cpu").to(background) - background


def check_step_views(views: Views, resolution: ResolutionSchedule, random_background: bool) -> None:
    """Raise ConfigError for a random background without masks, and if images would become too small."""
    if random_background and views.masks is None:
        raise ConfigError(
            "targets.background: random needs masks, which mark the background; give images with an alpha"
            " channel or a mask_path for every frame, or a fixed colour"
        )
    resolution.check(views)


def _scale_views(cameras: Cameras, scale: float) -> tuple[int, int]:
    return max(1, round(cameras.height * scale)), max(1, round(cameras.width * scale))


def _resize_views(views: Views, height: int, width: int) -> Views:
    if (height, width) == (views.cameras.height, views.cameras.width):
        return views
    masks, weights = views.masks, views.weights
    return replace(
        views,
        cameras=views.cameras.resized(height, width),
        images=resize_area(views.images, height, width, weights),
        masks=None if masks is None else resize_area(masks[..., None], height, width, weights)[..., 0],
        aovs={name: resize_area(values, height, width, weights) for name, values in views.aovs.items()},
        weights=None if weights is None else resize_area(weights[..., None], height, width)[..., 0],
        boxes=None,
    )
