"""Rendered views next to their targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from diffrender.errors import ConfigError
from diffrender.imaging.color import srgb_from_linear
from diffrender.scene.views import Views

if TYPE_CHECKING:
    from diffrender.render.render import RenderOutput


def _as_it_is(linear: Tensor) -> Tensor:
    return linear


def _log(linear: Tensor) -> Tensor:
    # Below 0, where only noise and overshooting filters lie, it goes on straight: no infinity, no zero gradient.
    return torch.where(linear > 0, (1 + linear.clamp_min(0)).log(), linear)


# The spaces in which images can be compared, by name. In "srgb" equal differences look about equally large. "log", that
# is log(1 + x), is for pictures far above 1: near black as linear, and in highlights by ratio.
SPACES: dict[str, Callable[[Tensor], Tensor]] = {"linear": _as_it_is, "srgb": srgb_from_linear, "log": _log}


# How near to 1 a value must be that ended there: means of such values are off by roundings alone.
AT_THE_END = 1e-4


def is_clipped(images: Tensor) -> Tensor:
    """[...] bool: the values that files of bytes have where a picture is too bright for them."""
    return (images - 1).abs() < AT_THE_END


class LossInputs:
    """What the losses of one step see: n rendered views and their targets; conversions are made once and kept.

    output: the renderings, with the buffers that the objective asks for.
    views: the n targets of these renderings, in the same order.
        Where their cameras have exposures, a rendering that is brighter than a clipped value agrees with it.
    added_background: [n, 3] what is added to the background of both, or None; views have masks then.
    """

    def __init__(self, output: RenderOutput, views: Views, added_background: Tensor | None = None) -> None:
        self.output = output
        self.views = views
        self._added = added_background
        self._differences: dict[str, Tensor] = {}

    def difference(self, space: str) -> Tensor:
        """[n, H, W, 3] rendered minus target colours in `space`; differentiable."""
        if space not in self._differences:
            convert = SPACES[space]
            rgba, images = self.output.rgba, self.views.images
            rendered = rgba[..., :3]
            if self.views.cameras.gains() is not None:
                # Where a photograph is overexposed, more light looks the same; else the highlights of bright pictures
                # would pull down their exposure.
                rendered = torch.where(is_clipped(images) & (rendered > images), images, rendered)
            if self._added is not None:
                # Exact, since both are linear in what lies behind: the background times what they leave uncovered.
                added = self._added[:, None, None]
                rendered = rendered + (1 - rgba[..., 3:]) * added
                images = images + (1 - self.masks()[..., None]) * added
            self._differences[space] = convert(rendered) - convert(images)
        return self._differences[space]

    def buffer_difference(self, name: str) -> Tensor:
        """[n, H, W, C] rendered minus target buffer `name`, zero where the target is NaN; differentiable.

        Raises ConfigError where the targets have no such buffer.
        """
        if name not in self._differences:
            target = require_buffer(self.views, name)
            # The comparison is undone where nothing is known, not the difference: 0 x NaN would stay NaN.
            known = target.where(~target.isnan(), self.output.buffer(name).detach())
            self._differences[name] = self.output.buffer(name) - known
        return self._differences[name]

    def masks(self) -> Tensor:
        """[n, H, W] target coverage. Raises ConfigError where the targets have none."""
        return require_masks(self.views, "mask")


def require_masks(views: Views, term: str) -> Tensor:
    """The masks of `views`. Raises ConfigError, naming the term of the objective that wants them, for none."""
    if views.masks is None:
        raise ConfigError(
            f"loss.{term}: the targets have no masks; remove this term, or give images with an alpha channel or a"
            " mask_path for every frame"
        )
    return views.masks


def require_buffer(views: Views, name: str) -> Tensor:
    """The targets' buffer `name`. Raises ConfigError where they have none."""
    if name not in views.buffers:
        raise ConfigError(
            f"loss.{name}: the targets have no {name}s; remove this term, or give every frame of transforms.json a"
            f" {name}_path, a .npy file"
        )
    return views.buffers[name]


def check_space(loss: str, space: str) -> None:
    """Raise ConfigError unless `space` is one of SPACES."""
    if space not in SPACES:
        raise ConfigError(f"{loss}: space must be one of {', '.join(SPACES)}, got {space!r}")
