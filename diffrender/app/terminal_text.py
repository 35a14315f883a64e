"""Build the messages in the terminal before and after a fit."""

from __future__ import annotations

import math
from collections.abc import Sequence

from diffrender.app.evaluation import START_SCORES, VIEW_LABELS, Evaluation, learned_of_heldout, shown_scores
from diffrender.app.export_scene import glb_path, obj_path, ply_path
from diffrender.app.parameter_changes import count_values, describe_parameter_changes
from diffrender.app.program_results import describe_program
from diffrender.app.run_outcome import RunOutcome
from diffrender.app.shape_pictures import SHAPE
from diffrender.app.verdict.reason import Reason
from diffrender.evaluate.geometry import GeometryReport
from diffrender.fit.program import ROOT
from diffrender.ops.backend import backends_by_op
from diffrender.scene.parameter_paths import get_value, kind_of
from diffrender.setup.fit_setup import FitSetup
from diffrender.writers.report.mesh_text import describe_faults, describe_shape
from diffrender.writers.report.terminal import Closing, Opening
from diffrender.writers.run.manifest import describe_device
from diffrender.writers.run.run_folder import RunFolder


def opening_text(
    name: str, setup: FitSetup, initial: Evaluation, folder: RunFolder, warnings: Sequence[Reason]
) -> Opening:
    """Build the message before the first step."""
    start = []
    for object_name, item in setup.scene.objects.items():
        prefix = f"{object_name}: " if len(setup.scene.objects) > 1 else ""
        start.append(f"{prefix}{item.mesh.n_vertices:,} vertices, {item.mesh.n_faces:,} faces")
    kind = "heldout" if "heldout" in initial.scores else "fit"
    scores = [(f"{VIEW_LABELS[kind]} {what}", unit, initial.scores[kind][key]) for what, unit, key in START_SCORES]
    parameters = []
    for path, options in setup.config.optimize.parameters().items():
        value = get_value(setup.scene, setup.fit_views.cameras, path)
        count = count_values(kind_of(setup.scene, setup.fit_views.cameras, path), value)
        count = "shared by all views" if options.shared else count
        since = f", from step {options.start}" if options.start else ""
        rate = "" if options.lr is None else f"lr {options.lr:.3g}"
        parameters.append((path, f"{rate}{since}, {count}".removeprefix(", ")))
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
        warnings=[str(reason) for reason in warnings],
        notes=[*setup.notes, *(f"chosen for you: {key}: {reason}" for key, reason in setup.reasons.items())],
    )


def closing_text(run: RunOutcome) -> Closing:
    """Build the message after the last step."""
    initial, final, folder = run.initial, run.final, run.folder
    scores = [
        (f"{VIEW_LABELS[views]} {what}", unit, initial.scores[views][key], final.scores[views][key])
        for views in final.scores
        for what, unit, key in shown_scores(final.scores[views])
    ]
    meshes = [glb_path(folder, "final"), obj_path(folder, "final"), ply_path(folder, "final")]
    files = [
        ("report", folder.path / "report.html"),
        ("mesh", next((path for path in meshes if path.exists()), folder.mesh)),
        ("shape", folder.path / SHAPE),
        ("video", folder.path / "progress.mp4"),
        ("turntable", folder.path / "turntable.mp4"),
        ("pictures", folder.progress),
        ("all", folder.path),
    ]
    return Closing(
        stop_reason=run.result.stop_reason,
        verdict=run.verdict.word,
        reasons=[(reason.text, reason.remedy) for reason in run.verdict.reasons],
        steps_done=run.result.steps_done,
        seconds=run.seconds,
        scores=scores,
        facts=describe_program(run.setup, run.result, run.deviations)
        + _describe_learned(run)
        + _describe_heldout(run)
        + describe_geometry(initial.geometry, final.geometry)
        + _describe_export(run.export_db)
        + [("note", note) for note in run.notes if note not in run.setup.notes],
        files=[(label, path) for label, path in files if path.exists()],
    )


def describe_geometry(initial: GeometryReport, final: GeometryReport) -> list[tuple[str, str]]:
    """Describe the geometry after the fit and its distance to a known target: (label, words)."""
    rows = [("geometry", f"{describe_shape(final.whole)}; {describe_faults(final.whole)}")]
    if final.rms_to_target is not None:
        before = "" if initial.rms_to_target is None else f" (initially {initial.rms_to_target:.4g})"
        surfaces = f"{final.surface_rms_to_target:.4g} between surfaces"
        rows.append(("to target", f"RMS {final.rms_to_target:.4g} between vertices{before}, {surfaces}"))
    return rows


def _describe_learned(run: RunOutcome) -> list[tuple[str, str]]:
    """Describe what was learned besides the program's parameters, if its standard deviations are known."""
    rows = []
    for row in describe_parameter_changes(run.setup, run.result, run.deviations) if run.deviations else ():
        if not row.path.startswith(f"{ROOT}."):
            is_matrix = "\n" in row.after
            rows.append((row.path, row.words if is_matrix else f"{row.after} (initially {row.before}); {row.words}"))
    return rows


def _describe_heldout(run: RunOutcome) -> list[tuple[str, str]]:
    found = learned_of_heldout(run.setup) if "heldout" in run.final.scores else {}
    return [("held-out", f"{key.removeprefix('heldout_')}: {how}") for key, how in found.items()]


def _describe_export(export_db: float | None) -> list[tuple[str, str]]:
    if export_db is None or not math.isfinite(export_db):
        return []
    return [("export", f"GLB against the fitted scene: PSNR {export_db:.1f} dB")]
