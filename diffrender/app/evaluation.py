"""What a run came to, in numbers: scores and geometry before and after the fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from diffrender.evaluate.exposure import EXPOSURE, WHITE_BALANCE, match_exposure
from diffrender.evaluate.geometry import GeometryEvaluator, GeometryReport
from diffrender.evaluate.materials import MaterialEvaluator, MaterialReport
from diffrender.evaluate.views import evaluate_views
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene
from diffrender.scene.views import Views
from diffrender.setup.fit_setup import FitSetup

# How held-out pictures are exposed where exposures are learned: nobody told, so each is judged at its best.
AT_ITS_BEST = {
    EXPOSURE: "one gain a view, by least squares",
    WHITE_BALANCE: "one gain a view and channel, by least squares",
}
# Names for people, and units, of the scores.
SCORES = (("PSNR", "dB", "psnr_db"), ("PSNR inside the mask", "dB", "psnr_masked_db"), ("mask IoU", "", "mask_iou"))
CALLED = {"fit": "fitted views,", "heldout": "held-out"}

Scores = dict[str, dict[str, float]]
"""Scores of `fit` and, where there are held-out views, `heldout`."""


@dataclass(frozen=True)
class Evaluation:
    """A scene's scores, and what is found in its geometry and its materials; None where these are not known."""

    scores: Scores
    geometry: GeometryReport
    material: MaterialReport | None


class Evaluator:
    """Judges scenes of one fit by its targets."""

    def __init__(self, setup: FitSetup) -> None:
        self._setup = setup
        self._geometry = GeometryEvaluator(setup.target_scene)
        self._materials = None
        if setup.target_scene is not None:
            target = setup.target_scene.to(setup.device)
            judged = setup.fit_views if setup.heldout_views is None else setup.heldout_views
            self._materials = MaterialEvaluator(target, judged.cameras, setup.relit, setup.render_views)

    def evaluate(self, scene: Scene, cameras: Cameras) -> Evaluation:
        """`scene` in the fitted views, seen by `cameras`, in the held-out ones, seen by their own, and in itself."""
        setup = self._setup
        scores = {"fit": evaluate_views(scene, replace(setup.fit_views, cameras=cameras), setup.render_views)}
        heldout = heldout_at_best_exposure(setup, scene)
        if heldout is not None:
            scores["heldout"] = evaluate_views(scene, heldout, setup.render_views)
        material = None if self._materials is None else self._materials.report(scene)
        return Evaluation(scores, self._geometry.report(scene), material)


def heldout_at_best_exposure(setup: FitSetup, scene: Scene, index: list[int] | None = None) -> Views | None:
    """The held-out views; where exposures are learned, with those that suit `scene` best (match_exposure).

    index: some of them; None: all.
    """
    views = setup.heldout_views
    if views is None:
        return None
    views = views if index is None else views.select(index)
    return replace(views, cameras=match_exposure(scene, views, setup.render_views, setup.learned_gains()))


@dataclass(frozen=True)
class FlipStatistics:
    """What the guards of learned meshes did over a whole fit.

    flipped_faces: how often a step turned a face over nevertheless.
    damped_vertices: how often a vertex moved less than it was to, so that no face turned over.
    """

    flipped_faces: int
    damped_vertices: int


def flip_statistics(rows: Sequence[Mapping[str, Any]]) -> FlipStatistics | None:
    """Added up over the rows of metrics.jsonl; None where no mesh is learned."""
    counts = [row["geometry"] for row in rows if "geometry" in row and row["geometry"]["vertices"]]
    if not counts:
        return None
    return FlipStatistics(sum(each["flipped"] for each in counts), sum(each["damped"] for each in counts))
