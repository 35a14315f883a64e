"""Build the content of the report of a finished run."""

from __future__ import annotations

import math
import shlex
import sys
from pathlib import Path

from diffrender.app.evaluation import (
    SCORES,
    VIEW_KINDS,
    VIEW_LABELS,
    Evaluation,
    FlipStatistics,
    learned_of_heldout,
    shown_scores,
)
from diffrender.app.parameter_changes import describe_parameter_changes
from diffrender.app.program_results import PLOT
from diffrender.app.run_outcome import RunOutcome
from diffrender.app.shape_pictures import SHAPE, WORST
from diffrender.evaluate.views import sort_worst_first
from diffrender.fit.loop import FitResult
from diffrender.ops.backend import backends_by_op
from diffrender.setup.fit_setup import FitSetup
from diffrender.threads import kernel_threads
from diffrender.writers.report.mesh_text import describe_facts, describe_faults, describe_shape
from diffrender.writers.report.report import Report, Score, Table, format_score
from diffrender.writers.run.manifest import describe_device, installed_versions

# (label, path in the run's folder) of files that are linked if they exist.
FILES = (
    ("fitted mesh with cameras and lights", "mesh/final.glb"),
    ("fitted mesh", "mesh/final_obj/final.obj"),
    ("fitted mesh", "mesh/final.ply"),
    ("initial mesh", "mesh/initial.glb"),
    ("initial mesh", "mesh/initial_obj/initial.obj"),
    ("initial mesh", "mesh/initial.ply"),
    ("textures", "textures"),
    ("cameras", "cameras/transforms.json"),
    ("lights", "lights/lights.json"),
    ("video of the fit", "progress.mp4"),
    ("turntable video of the result", "turntable.mp4"),
    ("fitted scene without loss, for diffrender relight", "scene.pt"),
    ("shape in clay and as normals", SHAPE),
    ("worst views", WORST),
    ("picture of the program", PLOT),
    ("progress pictures", "progress"),
    ("renderings", "renders"),
    ("all scores", "metrics.json"),
    ("metrics of every step", "metrics.jsonl"),
    ("terminal output", "log.txt"),
    ("scene file", "scene.yaml"),
    ("programs as they were", "programs"),
    ("scene file with all defaults filled in", "scene.resolved.yaml"),
    ("versions, machine and command", "manifest.json"),
)
# Distances below this mean that the shape is the target's own.
EXACT = 1e-12
# PSNR in dB above which no difference is visible.
LIKE_DB = 45.0
STOPPED = {
    "finished": "Finished",
    "interrupted": "Stopped by Ctrl-C",
    "non_finite": "Stopped by a non-finite value",
    "diverged": "Stopped since vertices left the scene",
    "program": "Stopped since the program failed",
}


def build_report(run: RunOutcome) -> Report:
    """Build the content of report.html."""
    folder, setup, initial, final, result = run.folder, run.setup, run.initial, run.final, run.result
    main = "heldout" if "heldout" in final.scores else "fit"
    scores = {views: _compare_scores(views, initial, final) for views in final.scores}
    has_several = len(final.geometry.objects) > 1
    files = [(label, path) for label, path in FILES if (folder.path / path).exists()]
    if has_several:
        stems = {name: f"final_{name}" for name in setup.scene.objects}
        meshes = [
            (f"fitted mesh {name}", path)
            for name, stem in stems.items()
            for path in (f"mesh/{stem}_obj/{stem}.obj", f"mesh/{stem}.ply")
        ]
        files = [(label, path) for label, path in meshes if (folder.path / path).exists()] + files
    return Report(
        scene=run.name,
        started=run.started,
        verdict=run.verdict.word,
        reasons=[(reason.text, reason.remedy) for reason in run.verdict.reasons],
        headline=f"{STOPPED[result.stop_reason]} after {result.steps_done:,} of {setup.settings.steps:,} steps",
        summary=_describe_result(setup, final),
        notes=run.notes,
        scores=[*scores.pop(main), *_compare_distances(initial, final)],
        other_scores=[score for others in scores.values() for score in others],
        views=_list_views(final),
        pictures=_list_pictures(folder.progress),
        shape=_existing(folder.path / SHAPE),
        worst=_existing(folder.path / WORST),
        program=_existing(folder.path / PLOT),
        curves=_existing(folder.path / "curves.png"),
        learned=describe_parameter_changes(setup, result, run.deviations),
        mesh_facts=describe_facts(final.geometry.whole) + _describe_flips(run.flips) + _describe_export(run.export_db),
        objects=[
            (name, f"{describe_shape(report)}; {describe_faults(report)}")
            for name, report in final.geometry.objects.items()
            if has_several
        ],
        timing=_describe_timing(setup, result, run.seconds),
        files=files,
        command=_format_command(sys.argv),
    )


def _compare_scores(views: str, initial: Evaluation, final: Evaluation) -> list[Score]:
    return [
        Score(f"{VIEW_LABELS[views]} {what}", unit, initial.scores[views][key], final.scores[views][key])
        for what, unit, key in shown_scores(final.scores[views])
    ]


def _compare_distances(initial: Evaluation, final: Evaluation) -> list[Score]:
    before, after = initial.geometry.rms_to_target, final.geometry.rms_to_target
    # A given shape that is not learned is not worth a row.
    if before is None or after is None or max(before, after) < EXACT:
        return []
    return [Score("RMS distance to the target shape", "", before, after)]


def _describe_result(setup: FitSetup, final: Evaluation) -> str:
    """Describe which views the scores are of, and whether the mesh is sound."""
    if setup.heldout_views is None:
        n_views, kind, remark = len(setup.fit_views), "fitted", "; no view was held out"
    else:
        n_views, kind, remark = len(setup.heldout_views), "held-out", ""
        words = {"heldout_gains": "exposed to match", "heldout_poses": "with their own poses"}
        remark = "".join(f", {words[key]} ({how})" for key, how in learned_of_heldout(setup).items())
    views = f"{n_views} {kind} {'view' if n_views == 1 else 'views'}"
    mesh = final.geometry.whole
    form = "watertight" if mesh.watertight else "not watertight"
    return f"Evaluated on {views}{remark}. The mesh is {form}, with {describe_faults(mesh)}."


def _describe_flips(flips: FlipStatistics | None) -> list[tuple[bool, str]]:
    if flips is None:
        return []
    count = flips.flipped_faces
    what = "No step flipped a face" if count == 0 else f"Steps flipped {count:,} {'face' if count == 1 else 'faces'}"
    shortened = f"; {flips.damped_vertices:,} vertex steps were shortened to prevent flips"
    return [(count == 0, f"{what}{shortened if flips.damped_vertices else ''}.")]


def _describe_export(export_db: float | None) -> list[tuple[bool, str]]:
    if export_db is None or math.isnan(export_db):
        return []
    is_alike = export_db >= LIKE_DB
    verb = "matches" if is_alike else "differs from"
    text = f"mesh/final.glb {verb} the fitted scene: PSNR {export_db:.1f} dB, read back and rendered in the same light."
    return [(is_alike, text)]


def _list_views(final: Evaluation) -> Table:
    """List the scores of each view, the worst first."""
    shown = {score for means in final.scores.values() for score in shown_scores(means)}
    scores = [score for score in SCORES if score in shown]
    kinds = {id(view): VIEW_KINDS[kind] for kind, views in final.views.items() for view in views}
    rows = [
        [view.name, kinds[id(view)], *(format_score(getattr(view, key), unit) for _, unit, key in scores)]
        for view in sort_worst_first([view for views in final.views.values() for view in views])
    ]
    return Table(["view", "used as", *(what for what, _, _ in scores)], rows)


def _existing(path: Path) -> Path | None:
    return path if path.exists() else None


def _list_pictures(folder: Path) -> list[tuple[str, Path]]:
    """List (caption, file) of the progress pictures, by step."""
    paths = sorted(folder.glob("step_*.png"))
    return [(f"step {int(path.stem.removeprefix('step_')):,}", path) for path in paths]


def _format_command(argv: list[str]) -> str:
    """Return the command line in a form that can be repeated."""
    # argv[0] is the installed command, or the full path of the module if Python runs that.
    is_ours = Path(argv[0]).stem in ("diffrender", "cli")
    return shlex.join((["diffrender"] if is_ours else ["python", argv[0]]) + argv[1:])


def _describe_timing(setup: FitSetup, result: FitResult, seconds: float) -> list[tuple[str, str]]:
    rate = result.steps_done / max(result.seconds, 1e-9)
    backends = ", ".join(sorted(set(backends_by_op(setup.device).values())))
    versions = installed_versions()
    cameras = setup.fit_views.cameras
    n_fit, n_heldout = len(setup.fit_views), 0 if setup.heldout_views is None else len(setup.heldout_views)
    return [
        ("whole run", f"{seconds:.1f} s"),
        ("fit", f"{result.seconds:.1f} s, {rate:.1f} steps/s"),
        (
            "of which",
            ", ".join(f"{phase} {spent:.1f} s" for phase, spent in result.phase_seconds.items() if spent >= 0.05),
        ),
        ("targets", f"{n_fit} fitted and {n_heldout} held-out views of {cameras.width} x {cameras.height}"),
        ("device", f"{describe_device(setup.device)}, {backends} kernels on {kernel_threads()} threads"),
        ("versions", f"diffrender {versions['diffrender']}, torch {versions['torch']}, Python {versions['python']}"),
    ]
