"""From a finished run to the content of its report."""

from __future__ import annotations

import math
import shlex
import sys
from pathlib import Path

from diffrender.app.evaluation import AT_ITS_BEST, CALLED, SCORES, Evaluation, FlipStatistics
from diffrender.app.parameter_changes import describe_parameter_changes
from diffrender.app.run_outcome import RunOutcome
from diffrender.app.terminal_text import warnings_of
from diffrender.fit.loop import FitResult
from diffrender.ops.backend import backends_by_op
from diffrender.setup.fit_setup import FitSetup
from diffrender.threads import kernel_threads
from diffrender.writers.report.mesh_text import describe_facts, describe_faults, describe_shape
from diffrender.writers.report.report import Report, Score
from diffrender.writers.run.manifest import describe_device, installed_versions

# What is linked where it is there: (what, place in the run's folder).
FILES = (
    ("the fitted mesh, with cameras and lights", "mesh/final.glb"),
    ("the fitted mesh", "mesh/final.obj"),
    ("the start", "mesh/initial.glb"),
    ("the start", "mesh/initial.obj"),
    ("textures", "textures"),
    ("cameras", "cameras/transforms.json"),
    ("lights", "lights/lights.json"),
    ("the fit as a film", "progress.mp4"),
    ("the result, turning", "turntable.mp4"),
    ("the result to the last bit, for diffrender relight", "scene.pt"),
    ("progress pictures", "progress"),
    ("renderings", "renders"),
    ("all scores", "metrics.json"),
    ("numbers of every step", "metrics.jsonl"),
    ("what the terminal said", "log.txt"),
    ("the scene file", "scene.yaml"),
    ("the scene file with everything filled in", "scene.resolved.yaml"),
    ("versions, machine and command", "manifest.json"),
)
# A shape that is nearer than this is the target's own.
EXACT = 1e-12
# Decibels from which an eye sees no difference.
LIKE_DB = 45.0
STOPPED = {"finished": "Finished", "interrupted": "Stopped by Ctrl-C", "non_finite": "Stopped by a non-finite value"}


def build_report(run: RunOutcome) -> Report:
    """The content of report.html."""
    folder, setup, initial, final, result = run.folder, run.setup, run.initial, run.final, run.result
    judged = "heldout" if "heldout" in final.scores else "fit"
    scores = {views: _scores(views, initial, final) for views in final.scores}
    several = len(final.geometry.objects) > 1
    files = [(what, place) for what, place in FILES if (folder.path / place).exists()]
    if several:
        files = [("a fitted mesh", f"mesh/final_{each}.obj") for each in setup.scene.objects
                 if (folder.path / "mesh" / f"final_{each}.obj").exists()] + files  # fmt: skip
    return Report(
        scene=run.name,
        started=run.started,
        is_finished=result.stop_reason == "finished",
        headline=f"{STOPPED[result.stop_reason]} after {result.steps_done:,} of {setup.settings.steps:,} steps",
        verdict=_verdict(setup, final),
        message=result.message,
        warnings=warnings_of(setup),
        scores=[*scores.pop(judged), *_target_scores(initial, final)],
        other_scores=[score for rest in scores.values() for score in rest],
        pictures=_pictures(folder.progress),
        curves=folder.path / "curves.png" if (folder.path / "curves.png").exists() else None,
        learned=describe_parameter_changes(setup, result),
        mesh_facts=describe_facts(final.geometry.whole) + _flips_in_words(run.flips) + _export_in_words(run.export_db),
        objects=[
            (each, f"{describe_shape(found)}; {describe_faults(found)}")
            for each, found in final.geometry.objects.items()
            if several
        ],
        timing=_timing(setup, result, run.seconds),
        files=files,
        command=_command(sys.argv),
    )


def _scores(views: str, initial: Evaluation, final: Evaluation) -> list[Score]:
    return [
        Score(f"{CALLED[views]} {what}", unit, initial.scores[views][key], final.scores[views][key])
        for what, unit, key in SCORES
        if math.isfinite(final.scores[views][key])
    ]


def _target_scores(initial: Evaluation, final: Evaluation) -> list[Score]:
    before, after = initial.geometry.rms_to_target, final.geometry.rms_to_target
    # Where the shape is given and not learned there is nothing to tell.
    if before is None or after is None or max(before, after) < EXACT:
        return []
    return [Score("RMS distance to the target's shape", "", before, after)]


def _verdict(setup: FitSetup, final: Evaluation) -> str:
    """Who judges the fit, and whether its mesh is sound."""
    if setup.heldout_views is None:
        n_views, seen = len(setup.fit_views), "it was fitted to; none was held out to say how it looks from elsewhere"
    else:
        n_views, seen = len(setup.heldout_views), "that the fit never saw"
        gains = setup.learned_gains()
        seen += f", at their best exposure ({AT_ITS_BEST[gains[-1]]})" if gains else ""
    views = "the one view" if n_views == 1 else f"the {n_views} views"
    found = final.geometry.whole
    form = "watertight" if found.watertight else "not watertight"
    return f"Judged by {views} {seen}. The mesh is {form}, with {describe_faults(found)}."


def _flips_in_words(flips: FlipStatistics | None) -> list[tuple[bool, str]]:
    if flips is None:
        return []
    count = flips.flipped_faces
    what = "No face was" if count == 0 else "1 face was" if count == 1 else f"{count:,} faces were"
    shortened = f"; {flips.damped_vertices:,} moves of vertices were shortened to prevent it"
    return [(count == 0, f"{what} turned over by a step{shortened if flips.damped_vertices else ''}.")]


def _export_in_words(export_db: float | None) -> list[tuple[bool, str]]:
    if export_db is None or math.isnan(export_db):
        return []
    like = "looks like the fitted scene" if export_db >= LIKE_DB else "differs from the fitted scene, as glTF is poorer"
    return [
        (export_db >= LIKE_DB, f"mesh/final.glb, read back and rendered in the same light, {like}: {export_db:.1f} dB.")
    ]


def _pictures(folder: Path) -> list[tuple[str, Path]]:
    """(caption, file) of the progress pictures, by step."""
    found = sorted(folder.glob("step_*.png"))
    return [(f"step {int(path.stem.removeprefix('step_')):,}", path) for path in found]


def _command(argv: list[str]) -> str:
    """What can be typed again."""
    # The installed command, or the module run by Python, which puts its full path there.
    is_ours = Path(argv[0]).stem in ("diffrender", "cli")
    return shlex.join((["diffrender"] if is_ours else ["python", argv[0]]) + argv[1:])


def _timing(setup: FitSetup, result: FitResult, seconds: float) -> list[tuple[str, str]]:
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
            ", ".join(f"{phase} {each:.1f} s" for phase, each in result.phase_seconds.items() if each >= 0.05),
        ),
        ("targets", f"{n_fit} fitted and {n_heldout} held-out views of {cameras.width} x {cameras.height}"),
        ("device", f"{describe_device(setup.device)}, {backends} kernels on {kernel_threads()} threads"),
        ("versions", f"diffrender {versions['diffrender']}, torch {versions['torch']}, Python {versions['python']}"),
    ]
