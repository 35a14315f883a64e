"""What a run came to, in numbers: scores and geometry before and after the fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from diffrender.evaluate.geometry import GeometryEvaluator, GeometryReport
from diffrender.evaluate.materials import MaterialEvaluator, MaterialReport
from diffrender.evaluate.views import evaluate_views
from diffrender.fit.loop import FitResult
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene
from diffrender.setup.fit_setup import FitSetup

# How held-out pictures are exposed where exposures are learned: nobody told, so each is judged at its best.
AT_ITS_BEST = {
    "cameras.exposure": "one gain a view, by least squares",
    "cameras.white_balance": "one gain a view and channel, by least squares",
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
        heldout = setup.heldout_as_judged(scene)
        if heldout is not None:
            scores["heldout"] = evaluate_views(scene, heldout, setup.render_views)
        material = None if self._materials is None else self._materials.report(scene)
        return Evaluation(scores, self._geometry.report(scene), material)


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


def collect_metrics(
    initial: Evaluation,
    final: Evaluation,
    guarding: FlipStatistics | None,
    export_db: float | None,
    result: FitResult,
    seconds: float,
    gains: Sequence[str] = (),
) -> dict[str, Any]:
    """The content of metrics.json.

    export_db: how much the exported GLB looks like the fit. seconds: of the run.
    gains: what is learned of exposure and white balance (FitSetup.learned_gains).
    """
    guards = {} if guarding is None else asdict(guarding)
    export = {} if export_db is None else {"export": {"glb_psnr_db": round(export_db, 3)}}
    return {
        **final.scores,
        **_material_json(final),
        **({"heldout_gains": AT_ITS_BEST[gains[-1]]} if gains and "heldout" in final.scores else {}),
        "geometry": final.geometry.as_json() | guards,
        "initial": {**initial.scores, **_material_json(initial), "geometry": initial.geometry.as_json()},
        **export,
        "wall_s": round(seconds, 3),
        "fit_s": round(result.seconds, 3),
        "phase_s": {phase: round(each, 3) for phase, each in result.phase_seconds.items()},
        "steps": result.steps_done,
        "steps_per_s": round(result.steps_done / max(result.seconds, 1e-9), 3),
        "stop_reason": result.stop_reason,
    }


def _material_json(judged: Evaluation) -> dict[str, Any]:
    return {} if judged.material is None else judged.material.as_json()
