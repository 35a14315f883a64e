"""Rendered views next to their targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor

from diffrender.errors import ConfigError
from diffrender.imaging.color import srgb_from_linear
from diffrender.scene.views import Views

if TYPE_CHECKING:
    from diffrender.render.render import RenderOutput


def _as_it_is(linear: Tensor) -> Tensor:
    return linear


# The spaces in which images can be compared, by name. In "srgb" equal differences look about equally large.
SPACES: dict[str, Callable[[Tensor], Tensor]] = {"linear": _as_it_is, "srgb": srgb_from_linear}


class Comparison:
    """What the losses of one step see: n rendered views and their targets; conversions are made once and kept.

    output: rgba [n, H, W, 4], linear.
    views: the n targets of these renderings, in the same order.
    """

    def __init__(self, output: RenderOutput, views: Views) -> None:
        self.output = output
        self.views = views
        self._differences: dict[str, Tensor] = {}

    def difference(self, space: str) -> Tensor:
        """[n, H, W, 3] rendered minus target colours in `space`; differentiable."""
        if space not in self._differences:
            convert = SPACES[space]
            self._differences[space] = convert(self.output.rgba[..., :3]) - convert(self.views.images)
        return self._differences[space]

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


def check_space(loss: str, space: str) -> None:
    """Raise ConfigError unless `space` is one of SPACES."""
    if space not in SPACES:
        raise ConfigError(f"{loss}: space must be one of {', '.join(SPACES)}, got {space!r}")
