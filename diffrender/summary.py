"""What a run came to, in numbers and words: scores and geometry before and after the fit."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from diffrender.config.build import FitSetup
from diffrender.findings import GeometryFindings, GeometryJudge
from diffrender.fit.evaluate import evaluate
from diffrender.fit.loop import FitResult
from diffrender.ops.backend import backends_by_op
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene
from diffrender.writers.manifest import describe_device
from diffrender.writers.mesh_words import faults_in_words, shape_in_words
from diffrender.writers.run_folder import RunFolder
from diffrender.writers.terminal import Closing, Opening

# Names for people, and units, of the scores.
SCORES = (("PSNR", "dB", "psnr_db"), ("PSNR inside the mask", "dB", "psnr_masked_db"), ("mask IoU", "", "mask_iou"))
CALLED = {"fit": "fitted views,", "heldout": "held-out"}

Scores = dict[str, dict[str, float]]
"""Scores of `fit` and, where there are held-out views, `heldout`."""


@dataclass(frozen=True)
class Judged:
    """A scene's scores, and what is found in its geometry."""

    scores: Scores
    geometry: GeometryFindings


class Judge:
    """Judges scenes of one fit by its targets."""

    def __init__(self, setup: FitSetup) -> None:
        self._setup = setup
        self._geometry = GeometryJudge(setup.target_scene)

    def judge(self, scene: Scene, cameras: Cameras) -> Judged:
        """`scene` in the fitted views, seen by `cameras`, in the held-out ones, seen by their own, and in itself."""
        setup = self._setup
        scores = {"fit": evaluate(scene, replace(setup.fit_views, cameras=cameras), setup.render_views)}
        if setup.heldout_views is not None:
            scores["heldout"] = evaluate(scene, setup.heldout_views, setup.render_views)
        return Judged(scores, self._geometry.findings(scene))


def metrics_of(initial: Judged, final: Judged, result: FitResult, seconds: float) -> dict[str, Any]:
    """The content of metrics.json. seconds: of the whole run."""
    return {
        **final.scores,
        "geometry": final.geometry.as_json(),
        "initial": {**initial.scores, "geometry": initial.geometry.as_json()},
        "wall_s": round(seconds, 3),
        "fit_s": round(result.seconds, 3),
        "steps": result.steps_done,
        "steps_per_s": round(result.steps_done / max(result.seconds, 1e-9), 3),
        "stop_reason": result.stop_reason,
    }


def opening_words(name: str, setup: FitSetup, initial: Judged, folder: RunFolder) -> Opening:
    """What is said before the first step."""
    start = []
    for each, item in setup.scene.objects.items():
        prefix = f"{each}: " if len(setup.scene.objects) > 1 else ""
        start.append(f"{prefix}{item.mesh.n_vertices:,} vertices, {item.mesh.n_faces:,} faces")
    judged = "heldout" if "heldout" in initial.scores else "fit"
    scores = [(f"{CALLED[judged]} {what}", unit, initial.scores[judged][key]) for what, unit, key in SCORES]
    parameters = []
    for path, options in setup.config.optimize.parameters().items():
        count = setup.model.latents[setup.model.full_path(path)].numel()
        since = f", from step {options.start}" if options.start else ""
        parameters.append((path, f"lr {options.lr:.3g}{since}, {count:,} numbers"))
    backends = ", ".join(sorted(set(backends_by_op(setup.device).values())))
    views = setup.fit_views
    return Opening(
        scene=name,
        device=f"{describe_device(setup.device)}, {backends} kernels",
        n_fit=len(views),
        n_heldout=0 if setup.heldout_views is None else len(setup.heldout_views),
        width=views.cameras.width,
        height=views.cameras.height,
        start="; ".join(start),
        start_scores=[score for score in scores if math.isfinite(score[2])],
        parameters=parameters,
        folder=folder.path,
        warnings=setup.warnings(),
    )


def closing_words(
    folder: RunFolder, setup: FitSetup, initial: Judged, final: Judged, result: FitResult, seconds: float
) -> Closing:
    """What is said after the last step."""
    scores = [
        (f"{CALLED[views]} {what}", unit, initial.scores[views][key], final.scores[views][key])
        for views in final.scores
        for what, unit, key in SCORES
        if math.isfinite(final.scores[views][key])
    ]
    mesh = folder.mesh / f"final.{'glb' if 'glb' in setup.config.export else 'obj'}"
    files = [
        ("mesh", mesh),
        ("film", folder.path / "progress.mp4"),
        ("pictures", folder.progress),
        ("all", folder.path),
    ]
    return Closing(
        stop_reason=result.stop_reason,
        message=result.message,
        steps_done=result.steps_done,
        seconds=seconds,
        scores=scores,
        findings=findings_in_words(initial.geometry, final.geometry),
        files=[(what, where) for what, where in files if where.exists()],
    )


def findings_in_words(initial: GeometryFindings, final: GeometryFindings) -> list[tuple[str, str]]:
    """The geometry after the fit, and how far it is from the known target: (what, words)."""
    rows = [("geometry", f"{shape_in_words(final.whole)}; {faults_in_words(final.whole)}")]
    if final.rms_to_target is not None:
        before = "" if initial.rms_to_target is None else f" (at the start {initial.rms_to_target:.4g})"
        surfaces = f"{final.surface_rms_to_target:.4g} between the surfaces"
        rows.append(("to target", f"RMS {final.rms_to_target:.4g} between the vertices{before}, {surfaces}"))
    return rows
