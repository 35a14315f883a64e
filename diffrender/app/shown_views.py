"""The views that pictures of a run show: some fitted ones and some held-out ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from diffrender.app.evaluation import Evaluation, match_lens_of
from diffrender.evaluate.views import sort_worst_first
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras, concatenate_cameras
from diffrender.scene.clay import cover_in_clay
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views, concatenate_views, evenly_spaced_indices
from diffrender.setup.fit_setup import FitSetup


class ShownViews:
    """Some fitted views and some held-out ones, which must have the same size.

    fit_index, heldout_index: which; at least one. heldout: the cameras of all held-out views, exposed to match already;
        None: those of the targets, which are exposed to match whenever they are rendered.
    views: their targets, in order; names of held-out views say so.
    """

    def __init__(
        self,
        setup: FitSetup,
        fit_index: Sequence[int],
        heldout_index: Sequence[int],
        heldout: Cameras | None = None,
    ) -> None:
        self._setup = setup
        self._fit_index, self._heldout_index = list(fit_index), list(heldout_index)
        self.views = setup.fit_views.select(self._fit_index)
        self._heldout: Views | None = None
        self._is_matched = heldout is not None
        if setup.heldout_views is not None and self._heldout_index:
            views = setup.heldout_views if heldout is None else replace(setup.heldout_views, cameras=heldout)
            self._heldout = views.select(self._heldout_index)
            names = self.views.names + tuple(f"{name}, held out" for name in self._heldout.names)
            self.views = replace(concatenate_views(self.views, self._heldout), names=names)

    @classmethod
    def spread(cls, setup: FitSetup, count: int) -> ShownViews:
        """Choose up to `count` views, evenly spaced; half of them held-out ones, if there are any of the same size.

        Where poses are learned, only fitted ones: those of held-out views are not known before the end.
        """
        n_heldout = min(_n_comparable(setup), count // 2) if setup.camera_poses is None else 0
        return cls(
            setup,
            evenly_spaced_indices(len(setup.fit_views), count - n_heldout),
            evenly_spaced_indices(_n_comparable(setup), n_heldout),
        )

    @classmethod
    def worst(cls, setup: FitSetup, evaluation: Evaluation) -> ShownViews:
        """Choose the fitted and the held-out view of the lowest PSNR; no held-out one if their size is another."""
        worst = {kind: scores.index(sort_worst_first(scores)[0]) for kind, scores in evaluation.views.items()}
        heldout = [worst["heldout"]] if _n_comparable(setup) else []
        return cls(setup, [worst["fit"]], heldout, evaluation.heldout)

    @torch.no_grad()
    def render(self, scene: Scene, fit_cameras: Cameras) -> Tensor:
        """Render `scene` [n, H, W, 4]. fit_cameras: of all fitted views, as learned so far."""
        images = [self._setup.render_views(scene, fit_cameras.select(self._fit_index)).rgba]
        if self._heldout is not None:
            shown = self._heldout
            if not self._is_matched:
                shown = match_lens_of(self._setup, scene, shown, fit_cameras)
            images.append(self._setup.render_views(scene, shown.cameras).rgba)
        return torch.cat(images)

    def cameras(self, fit_cameras: Cameras) -> Cameras:
        """Return the cameras of the views, without exposures. fit_cameras: as of `render`."""
        fitted = fit_cameras.select(self._fit_index).without_gains()
        return fitted if self._heldout is None else concatenate_cameras(fitted, self._heldout.cameras)


@torch.no_grad()
def render_clay(scene: Scene, cameras: Cameras, size: tuple[int, int]) -> Tensor:
    """Render the shape of `scene` alone, in clay: [n, h, w, 3]. size: (width, height) of the images."""
    return render(cover_in_clay(scene), cameras.without_gains().resized(size[1], size[0])).rgba[..., :3]


def _n_comparable(setup: FitSetup) -> int:
    """Return the number of held-out views, if their images have the size of the fitted ones; otherwise 0."""
    fit, heldout = setup.fit_views, setup.heldout_views
    return 0 if heldout is None or heldout.images.shape[1:] != fit.images.shape[1:] else len(heldout)
