"""Evaluate scenes of a fit against its targets: image scores, geometry, materials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from diffrender.evaluate.exposure import EXPOSURE, WHITE_BALANCE, match_exposure, with_shared_lens
from diffrender.evaluate.geometry import GeometryEvaluator, GeometryReport
from diffrender.evaluate.match_poses import match_poses
from diffrender.evaluate.materials import MaterialEvaluator, MaterialReport
from diffrender.evaluate.views import ViewScores, mean_scores, score_views
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views
from diffrender.setup.fit_setup import FitSetup

# If exposures are learned, those of held-out views are unknown: each is fitted in closed form before it is scored.
HELDOUT_GAINS = {
    EXPOSURE: "one gain per view, by least squares",
    WHITE_BALANCE: "one gain per view and channel, by least squares",
}
# (label, unit, key) of each score.
SCORES = (
    ("PSNR", "dB", "psnr_db"),
    ("PSNR inside the mask", "dB", "psnr_masked_db"),
    ("mask IoU", "", "mask_iou"),
    ("SSIM", "", "ssim"),
    ("SSIM inside the mask", "", "ssim_masked"),
    ("share of pixels scored", "", "known"),
)
# Those of the start, in one line.
START_SCORES = SCORES[:3]
# If poses are learned, those of held-out views are as wrong as the others were.
HELDOUT_POSES = "refined against the picture of each view, the scene fixed"
VIEW_LABELS = {"fit": "fitted-view", "heldout": "held-out"}
VIEW_KINDS = {"fit": "fitted", "heldout": "held out"}

Scores = dict[str, dict[str, float]]
"""Scores of `fit` and, if there are held-out views, `heldout`."""


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of a scene.

    views: the scores of each view of `fit` and, if there are held-out views, `heldout`.
    geometry, material: reports; material is None without a target scene.
    heldout: the cameras that the held-out views were scored with, or None without any.
    """

    views: Mapping[str, Sequence[ViewScores]]
    geometry: GeometryReport
    material: MaterialReport | None
    heldout: Cameras | None = None

    @property
    def scores(self) -> Scores:
        """The mean scores over the views."""
        return {kind: mean_scores(views) for kind, views in self.views.items()}


class Evaluator:
    """Evaluates scenes of one fit against its targets."""

    def __init__(self, setup: FitSetup) -> None:
        self._setup = setup
        self._geometry = GeometryEvaluator(setup.target_scene)
        self._materials = None
        if setup.target_scene is not None:
            target = setup.target_scene.to(setup.device)
            views = setup.fit_views if setup.heldout_views is None else setup.heldout_views
            self._materials = MaterialEvaluator(target, views.cameras, setup.relit, setup.render_views)

    def evaluate(self, scene: Scene, cameras: Cameras, refine: bool = False) -> Evaluation:
        """Evaluate `scene`: fitted views through `cameras`, held-out views through their own, geometry, materials.

        refine: whether the poses of held-out views are refined first, where those of fitted views are learned.
        """
        setup = self._setup
        views = {"fit": score_views(scene, replace(setup.fit_views, cameras=cameras), setup.render_views)}
        heldout = match_heldout(setup, scene, cameras, refine)
        if heldout is not None:
            views["heldout"] = score_views(scene, heldout, setup.render_views)
        material = None if self._materials is None else self._materials.report(scene)
        return Evaluation(views, self._geometry.report(scene), material, None if heldout is None else heldout.cameras)


def shown_scores(means: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """Return those of SCORES that say something: numbers, and which share is scored if that is not all."""
    return [each for each in SCORES if math.isfinite(means[each[2]]) and (each[2] != "known" or means["known"] < 1)]


def match_heldout(setup: FitSetup, scene: Scene, fitted: Cameras, refine: bool) -> Views | None:
    """Return the held-out views, exposed to match `scene` if exposures are learned; None if there are none.

    fitted: the cameras of fitted views, of which those held out have what is learned of a lens that all share.
    refine: whether to refine their poses as well, if poses are learned.
    """
    views = setup.heldout_views
    if views is None:
        return None
    views = match_lens_of(setup, scene, views, fitted)
    poses = setup.camera_poses
    if not refine or poses is None:
        return views
    matched = match_poses(scene, views, setup.objective, setup.render_end, poses)
    return _exposed(setup, scene, replace(views, cameras=matched))


def learned_of_heldout(setup: FitSetup) -> dict[str, str]:
    """Return how what is learned per view is found for held-out views, by its key in metrics.json."""
    gains = setup.learned_gains()
    of_gains = {"heldout_gains": HELDOUT_GAINS[gains[-1]]} if gains else {}
    return of_gains | ({} if setup.camera_poses is None else {"heldout_poses": HELDOUT_POSES})


def match_lens_of(setup: FitSetup, scene: Scene, views: Views, fitted: Cameras) -> Views:
    """Return held-out `views`, seen through the lens that `fitted` ones share, exposed to match `scene`.

    Each only if it is learned.
    """
    lens = with_shared_lens(views.cameras, setup.fit_views.cameras, fitted, setup.shared_of_lens())
    return _exposed(setup, scene, replace(views, cameras=replace(lens, blur_px=fitted.blur_px)))


def _exposed(setup: FitSetup, scene: Scene, views: Views) -> Views:
    return replace(views, cameras=match_exposure(scene, views, setup.render_views, setup.learned_gains()))


@dataclass(frozen=True)
class FlipStatistics:
    """What the flip guard of learned meshes did over a whole fit.

    flipped_faces: how often a step flipped a face despite the guard.
    damped_vertices: how often a vertex step was shortened to prevent a flip.
    """

    flipped_faces: int
    damped_vertices: int


def sum_flips(rows: Sequence[Mapping[str, Any]]) -> FlipStatistics | None:
    """Sum the flip statistics over the rows of metrics.jsonl; None if no mesh is learned."""
    counts = [row["geometry"] for row in rows if "geometry" in row and row["geometry"]["vertices"]]
    if not counts:
        return None
    return FlipStatistics(sum(count["flipped"] for count in counts), sum(count["damped"] for count in counts))
