"""What the terminal says before and after a fit."""

from __future__ import annotations

import math

from diffrender.app.evaluation import CALLED, SCORES, Evaluation
from diffrender.evaluate.geometry import GeometryReport
from diffrender.fit.loop import FitResult
from diffrender.ops.backend import backends_by_op
from diffrender.setup.fit_setup import FitSetup
from diffrender.writers.report.mesh_text import describe_faults, describe_shape
from diffrender.writers.report.terminal import Closing, Opening
from diffrender.writers.run.manifest import describe_device
from diffrender.writers.run.run_folder import RunFolder


def opening_text(name: str, setup: FitSetup, initial: Evaluation, folder: RunFolder) -> Opening:
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


def closing_text(
    folder: RunFolder,
    setup: FitSetup,
    initial: Evaluation,
    final: Evaluation,
    export_db: float | None,
    result: FitResult,
    seconds: float,
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
        ("report", folder.path / "report.html"),
        ("mesh", mesh),
        ("film", folder.path / "progress.mp4"),
        ("turning", folder.path / "turntable.mp4"),
        ("pictures", folder.progress),
        ("all", folder.path),
    ]
    return Closing(
        stop_reason=result.stop_reason,
        message=result.message,
        steps_done=result.steps_done,
        seconds=seconds,
        scores=scores,
        findings=describe_geometry(initial.geometry, final.geometry) + _describe_export(export_db),
        files=[(what, where) for what, where in files if where.exists()],
    )


def describe_geometry(initial: GeometryReport, final: GeometryReport) -> list[tuple[str, str]]:
    """The geometry after the fit, and how far it is from the known target: (what, words)."""
    rows = [("geometry", f"{describe_shape(final.whole)}; {describe_faults(final.whole)}")]
    if final.rms_to_target is not None:
        before = "" if initial.rms_to_target is None else f" (at the start {initial.rms_to_target:.4g})"
        surfaces = f"{final.surface_rms_to_target:.4g} between the surfaces"
        rows.append(("to target", f"RMS {final.rms_to_target:.4g} between the vertices{before}, {surfaces}"))
    return rows


def _describe_export(export_db: float | None) -> list[tuple[str, str]]:
    if export_db is None or not math.isfinite(export_db):
        return []
    return [("export", f"the GLB, read back and rendered in the same light, is {export_db:.1f} dB from the fit")]
