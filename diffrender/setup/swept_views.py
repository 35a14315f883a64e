"""Small pictures and the depths of their pixels, which tell where objects and surfaces are."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from torch import Tensor

from diffrender.errors import DataError
from diffrender.imaging.color import srgb_from_linear
from diffrender.imaging.filters import resize_area
from diffrender.scene.cameras import Cameras
from diffrender.scene.projections.perspective import Perspective
from diffrender.scene.target_views import Views, concatenate_views
from diffrender.setup.depth_sweep import DepthMaps, find_middles, sweep_depths
from diffrender.setup.region import sight_of_views

# The long side that pictures are shrunk to for depths.
SIDE = 160
# Fewer pictures do not tell depths; of eight, one is held out.
FEWEST = 7


class SweptViews(NamedTuple):
    """Pictures of which depths are known.

    views: `n_fit` fitted views of at most SIDE pixels along each side, with images in sRGB; after them those held out,
    if their images have the same size as those. depths: theirs.
    middles: [N, 3], what each looks at. is_around: whether that is one place, seen from several sides.
    """

    views: Views
    n_fit: int
    depths: DepthMaps
    middles: Tensor
    is_around: bool

    @property
    def fitted_depths(self) -> DepthMaps:
        """Those of the fitted views."""
        return DepthMaps(*(part[: self.n_fit] for part in self.depths))

    @property
    def fitted_cameras(self) -> Cameras:
        """Those of the fitted views, small."""
        return self.views.cameras.select(slice(0, self.n_fit))


def sweep_views(fit: Views, heldout: Views | None, box: Tensor | None = None) -> SweptViews:
    """Return the depths of what `fit` and `heldout` show, as seen by neighbours among `fit`.

    box: [2, 3] low and high corner of what counts, if it is known.
    Raises DataError if there are none.
    """
    small = shrink_views(fit)
    if heldout is not None and heldout.images.shape[1:] == fit.images.shape[1:]:
        small = concatenate_views(small, shrink_views(heldout))
    return sweep_small_views(small, len(fit), box)


def sweep_small_views(small: Views, n_fit: int, box: Tensor | None = None, with_ground: bool = True) -> SweptViews:
    """Return the depths of what small views show, with images in sRGB, as seen by neighbours among the first `n_fit`.

    box: [2, 3] low and high corner of what counts, if it is known. with_ground: as for `sweep_depths`.
    Raises DataError if there are none.
    """
    if n_fit < FEWEST:
        raise DataError(f"fewer than {FEWEST} pictures do not tell depths")
    if not isinstance(small.cameras.projection, Perspective):
        raise DataError("depths are found by pinhole cameras only")
    sight = sight_of_views(small.select(list(range(n_fit))))
    is_around = sight.is_met and not sight.is_narrow
    if box is None and not is_around:
        middles = find_middles(small, n_fit)
    else:
        middles = (sight.point.float() if box is None else box.mean(0)).expand(len(small), 3)
    if middles is None:
        raise DataError("its pictures do not tell depths")
    return SweptViews(small, n_fit, sweep_depths(small, n_fit, middles, with_ground), middles, is_around)


def shrink_views(views: Views) -> Views:
    """Return `views` at a long side of at most SIDE pixels, without masks and with images in sRGB."""
    small = resize_views(replace(views, images=views.images.clamp(0, 1)), SIDE)
    return replace(small, images=srgb_from_linear(small.images))


def resize_views(views: Views, side: int) -> Views:
    """Return `views` at a long side of at most `side` pixels, without masks."""
    cameras = views.cameras.without_gains()
    scale = min(1.0, side / max(cameras.height, cameras.width))
    height, width = (max(1, round(size * scale)) for size in (cameras.height, cameras.width))
    images = resize_area(views.images, height, width, views.weights)
    weights = None if views.weights is None else resize_area(views.weights[..., None], height, width)[..., 0]
    cameras = replace(cameras.resized(height, width), near=min(cameras.near, 1e-30))
    return Views(cameras, images, None, views.names, weights=weights)
