"""The inputs of losses: rendered views with their targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from diffrender.errors import ConfigError
from diffrender.imaging.color import srgb_from_linear
from diffrender.scene.target_views import Views

if TYPE_CHECKING:
    from diffrender.render.render import RenderOutput


def _identity(linear: Tensor) -> Tensor:
    return linear


def _log(linear: Tensor) -> Tensor:
    # Linear below 0, where only noise and filter overshoot occur: no infinity, no zero gradient.
    return torch.where(linear > 0, (1 + linear.clamp_min(0)).log(), linear)


# The spaces in which images can be compared, by name. In "srgb" equal differences look about equally large. "log",
# log(1 + x), is for pictures far above 1: it compares by difference near black and by ratio in highlights.
SPACES: dict[str, Callable[[Tensor], Tensor]] = {"linear": _identity, "srgb": srgb_from_linear, "log": _log}


# Values this near to 1 count as clipped: means of clipped values differ from 1 by rounding only.
AT_THE_END = 1e-4


def is_clipped(images: Tensor) -> Tensor:
    """Return a mask [...] of the values at 1, where 8-bit files clip overexposed pixels."""
    return (images - 1).abs() < AT_THE_END


class LossInputs:
    """The inputs of the losses of one step: n rendered views and their targets; differences are cached.

    output: the renderings, with the AOVs that the objective needs.
    views: the n targets of these renderings, in the same order.
        If their cameras have exposures, a rendering brighter than a clipped value agrees with it.
    added_background: [n, 3] an offset of the background of both, or None; requires views with masks.
    """

    def __init__(self, output: RenderOutput, views: Views, added_background: Tensor | None = None) -> None:
        self.output = output
        self.views = views
        self._added = added_background
        self._differences: dict[str, Tensor] = {}

    def difference(self, space: str) -> Tensor:
        """Return rendered minus target colours [n, H, W, 3] in `space`; differentiable."""
        if space not in self._differences:
            convert = SPACES[space]
            rgba, images = self.output.rgba, self.views.images
            rendered = rgba[..., :3]
            if self.views.cameras.gains() is not None:
                # Where a photograph is overexposed, more light looks the same; otherwise the highlights of bright
                # pictures would pull down their exposure.
                rendered = torch.where(is_clipped(images) & (rendered > images), images, rendered)
            if self._added is not None:
                # Exact, since both are linear in the background: it is weighted by 1 - coverage.
                added = self._added[:, None, None]
                rendered = rendered + (1 - rgba[..., 3:]) * added
                images = images + (1 - self.masks()[..., None]) * added
            self._differences[space] = convert(rendered) - convert(images)
        return self._differences[space]

    def aov_difference(self, name: str) -> Tensor:
        """Return rendered minus target AOV `name` [n, H, W, C], zero where the target is NaN; differentiable.

        Raises ConfigError if the targets have no such AOV.
        """
        if name not in self._differences:
            target = require_aov(self.views, name)
            # The target is replaced where it is unknown, not the difference zeroed: 0 * NaN would stay NaN.
            known = target.where(~target.isnan(), self.output.aov(name).detach())
            self._differences[name] = self.output.aov(name) - known
        return self._differences[name]

    def masks(self) -> Tensor:
        """Return the target masks [n, H, W]. Raises ConfigError if the targets have none."""
        return require_masks(self.views, "mask")


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
    """Raise ConfigError unless `space` is one of SPACES."""
    if space not in SPACES:
        raise ConfigError(f"{loss}: space must be one of {', '.join(SPACES)}, got {space!r}")
