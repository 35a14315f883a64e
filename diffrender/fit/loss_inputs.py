"""The inputs of losses: rendered views with their targets."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from diffrender import memory
from diffrender.errors import ConfigError
from diffrender.fit.deterministic_reduce import mean_per_view
from diffrender.imaging.color import COLOR_SPACES
from diffrender.ops.compare_colors import compare_colors
from diffrender.ops.compare_colors.reference import color_difference
from diffrender.ops.differentiable import run_linear
from diffrender.scene.cameras import Cameras
from diffrender.scene.target_views import Views

if TYPE_CHECKING:
    from diffrender.render.render import RenderOutput


class LossInputs:
    """The inputs of the losses of one step: n rendered views and their targets; differences are cached.

    output: the renderings, with the AOVs that the objective needs.
    views: the n targets of these renderings, in the same order. What they do not know does not count: losses are means
        over the pixels, weighted by `views.weights`, and no value of a pixel of weight 0 is looked at.
        If their cameras have exposures, a rendering brighter than a clipped value agrees with it.
    added_background: [n, 3] an offset of the background of both, or None; requires views with masks.
    """

    def __init__(self, output: RenderOutput, views: Views, added_background: Tensor | None = None) -> None:
        self.output = output
        self.views = views
        self._added = added_background
        self._differences: dict[str, Tensor] = {}
        self._squared: dict[str, Tensor] = {}

    def difference(self, space: str) -> Tensor:
        """Return rendered minus target colours [n, H, W, 3] in `space`, zero where weights are; differentiable."""
        if space not in self._differences:
            with torch.enable_grad():
                difference = color_difference(self._rgba, self.views.images, space=space, **self._compared())
            self._differences[space] = difference
        return self._differences[space]

    def mean_penalty(self, space: str, **options: Any) -> Tensor:
        """Return the mean of a penalty of compare_colors, by its options, over the colours [n]; differentiable."""
        cost, squared = compare_colors(self._rgba, self.views.images, space=space, **options, **self._compared())
        self._squared[space] = squared.detach()
        return cost

    @torch.no_grad()
    def penalties(self, space: str, **options: Any) -> Tensor:
        """Return a penalty of compare_colors, by its options, of each pixel [n, H, W], 0 where weights are."""
        compared = self._compared()
        n_views, height, width = self.views.images.shape[:3]
        if self._added is not None:
            compared["added"] = self._added.repeat_interleave(height * width, dim=0)
        for name in ("masks", "weights"):
            compared[name] = None if compared[name] is None else compared[name].reshape(-1, 1, 1)
        # Each pixel as a view of its own.
        pair = (each.reshape(n_views * height * width, 1, 1, -1) for each in (self._rgba, self.views.images))
        return compare_colors(*pair, space=space, **options, **compared)[0].reshape(n_views, height, width)

    @property
    def coverage(self) -> Tensor:
        """The coverage of the renderings [n, H, W]."""
        return self._parts[1] if self.output.aovs == ("color",) else self.output.coverage

    @property
    def _rgba(self) -> Tensor:
        """The renderings [n, H, W, 4]."""
        return self._parts[0]

    @cached_property
    def _parts(self) -> tuple[Tensor, Tensor]:
        """The renderings and their coverage, whose gradients become one in one pass, where a slice would make zeros."""
        with torch.enable_grad():  # whoever asks first may be under torch.no_grad, and others not
            if self.views.masks is None or self.output.aovs != ("color",):
                rgba = self.output.rgba
                return rgba, rgba[..., -1]
            return run_linear(_split, _join, self.output.image)

    def weighted(self, weights: Tensor | None) -> LossInputs:
        """Return the same comparison with other weights [n, H, W] of the pixels."""
        return LossInputs(self.output, replace(self.views, weights=weights), self._added)

    def squared_error(self) -> Tensor:
        """Return the mean squared difference of sRGB colours [n], without gradient."""
        if "srgb" not in self._squared:
            with torch.no_grad():
                self.mean_penalty("srgb")
        return self._squared["srgb"]

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of values [n, H, W, ...] of the pixels over those of each view that are known: [n]."""
        return mean_per_view(values, self.views.weights)

    def _compared(self) -> dict[str, Any]:
        """Return the options of compare_colors that the views determine."""
        masks = None if self._added is None else self.masks()
        is_exposed, weights = self.views.cameras.is_exposed(), self.views.weights
        return {"clips": is_exposed, "added": self._added, "masks": masks, "weights": weights}

    def aov_difference(self, name: str) -> Tensor:
        """Return rendered minus target AOV `name` [n, H, W, C], zero where the target is NaN or its weight 0.

        Differentiable. Raises ConfigError if the targets have no such AOV.
        """
        if name not in self._differences:
            target = require_aov(self.views, name)
            # The target is replaced where it is unknown, since 0 * NaN would stay NaN, and the rendering has no
            # derivative there, in forward mode either.
            is_known = ~target.isnan()
            if self.views.weights is not None:
                is_known &= (self.views.weights > 0)[..., None]
            difference = self.output.aov(name) - target.where(is_known, 0)
            self._differences[name] = difference.where(is_known, 0)
        return self._differences[name]

    def masks(self) -> Tensor:
        """Return the target masks [n, H, W], zero where weights are. Raises ConfigError if the targets have none."""
        masks, weights = require_masks(self.views, "mask"), self.views.weights
        return masks if weights is None else torch.where(weights > 0, masks, 0)


def _split(image: Tensor) -> tuple[Tensor, Tensor]:
    return image.view_as(image), image[..., -1].contiguous()


def _join(image: Tensor, coverage: Tensor) -> Tensor:
    on_cpu = image.device.type == "cpu"
    whole = memory.empty(image.shape, image.dtype).copy_(image) if on_cpu else image.clone()
    whole[..., -1] += coverage
    return whole


def cameras_to_compare(cameras: Cameras, views: Views) -> Cameras:
    """Return the cameras of `views`, as they are learned, so that blur is learned where the object is.

    A background that was put behind it by its mask begins where no photograph has so sharp an edge.
    """
    if cameras.blur_px is None or views.masks is None or not views.is_composited:
        return cameras
    return cameras.with_blur_mask(views.masks > 0)


def require_masks(views: Views, term: str) -> Tensor:
    """Return the masks of `views`. Raises ConfigError, naming the term that needs them, if there are none."""
    if views.masks is None:
        raise ConfigError(
            f"loss.{term}: the targets have no masks; remove this term, or give images with an alpha channel or a"
            " mask_path for every frame"
        )
    return views.masks


def require_aov(views: Views, name: str) -> Tensor:
    """Return the targets' AOV `name`. Raises ConfigError if they have none."""
    if name not in views.aovs:
        raise ConfigError(
            f"loss.{name}: the targets have no {name}s; remove this term, or give every frame of transforms.json a"
            f" {name}_path, a .npy file"
        )
    return views.aovs[name]


def check_space(loss: str, space: str) -> None:
    """Raise ConfigError unless `space` is one of COLOR_SPACES."""
    if space not in COLOR_SPACES:
        raise ConfigError(f"{loss}: space must be one of {', '.join(COLOR_SPACES)}, got {space!r}")
