"""Run a whole fit: build, evaluate the initial scene, fit, evaluate the result, write everything into one folder."""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from diffrender.app.earlier_run import (
    RESOLVED,
    check_same_scene,
    check_unfinished,
    find_checkpoint,
    find_run,
    read_metric_rows,
)
from diffrender.app.evaluation import Evaluation, Evaluator, sum_flips
from diffrender.app.export_check import export_psnr_db
from diffrender.app.export_scene import glb_path, write_appearance, write_cameras, write_meshes
from diffrender.app.program_results import PLOT, draw_program
from diffrender.app.report_data import build_report
from diffrender.app.run_outcome import RunOutcome
from diffrender.app.run_recorder import Recorder
from diffrender.app.shape_pictures import SHAPE, WORST, write_shape, write_worst
from diffrender.app.terminal_text import closing_text, opening_text
from diffrender.app.time_budget import build_within_minutes
from diffrender.app.turntable import write_turntable
from diffrender.app.uncertainty import find_covariance, find_deviations, find_posterior
from diffrender.app.verdict.judge import Judge, judge_targets
from diffrender.config.load import load_config
from diffrender.config.options.meshes import VisualHullMesh
from diffrender.config.resolved import format_resolved
from diffrender.config.schema import FitConfig
from diffrender.errors import ConfigError, NotFiniteWarning
from diffrender.fit.checkpoint import load_checkpoint
from diffrender.fit.fill_unseen_texels import fill_unseen_texels
from diffrender.fit.flatten_unseen import flatten_unseen
from diffrender.fit.loop import FitResult, fit
from diffrender.fit.program import written
from diffrender.ops.backend import backends_by_op
from diffrender.scene.parameter_paths import ParameterPath
from diffrender.setup.camera_poses import doubt_poses
from diffrender.setup.fit_setup import FitSetup, build_fit
from diffrender.setup.programs import programs_of
from diffrender.setup.saved_scene import SCENE_FILE, SavedScene, save_scene
from diffrender.threads import kernel_threads, threads_to_kernels
from diffrender.writers.atomic import write_bytes, write_text
from diffrender.writers.report.curves import write_curves
from diffrender.writers.report.report import write_report
from diffrender.writers.report.terminal import FitPanel
from diffrender.writers.run.manifest import write_manifest
from diffrender.writers.run.metrics import write_json
from diffrender.writers.run.run_folder import LATEST, RunFolder, check_writable, create_run_folder

LOG_WIDTH = 120
LATEST_KEPT = "{} is a folder, not a link, and still holds another run; remove it, and the next run makes the link"
CHECK_PLACE = (
    "Move the scene in front of the cameras with mesh.center, mesh.radius or pose, scale it if its units are not those"
    " of the cameras, or check the camera convention: transforms.json holds camera-to-world matrices of cameras that"
    " look along -z"
)
FLATTENED = (
    "a part that no view shows, such as the bottom, was flattened: its rim is flat, and the first shape bulged there;"
    " `mesh: {init: visual_hull, flatten_unseen: false}` keeps it"
)


@dataclass(frozen=True)
class RunResult:
    """The result of a run.

    folder: where everything was written.
    fit: the fitted scene and why the fit ended.
    metrics: the content of metrics.json.
    """

    folder: Path
    fit: FitResult
    metrics: Mapping[str, Any]


def run_fit(
    config: FitConfig,
    name: str = "scene",
    scene_file: Path | None = None,
    out: Path | str = "outputs",
    console: Console | None = None,
    resume: Path | str | None = None,
) -> RunResult:
    """Fit `config` and write <out>/<name>/<time>/; after Ctrl-C or non-finite values the results are still written.

    name: of the scene, a plain folder name.
    scene_file: copied into the folder as scene.yaml; None if the config was made in Python.
    console: where progress is shown; by default standard output.
    resume: the folder of a run of the same scene, which is continued from its last checkpoint in the same folder
        (`out` is not used); on the same device the result is bit for bit that of an uninterrupted run.
    Raises ConfigError, DataError or BackendError before the fit if the scene cannot be built or the run cannot be
    resumed, DataError if the folder cannot be written, FitError if nothing depends on an optimised value.
    """
    with threads_to_kernels(kernel_threads()), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotFiniteWarning)  # the fit itself tells what is not finite, and where
        if resume is None:
            state = _start(config, name, scene_file, Path(out))
        else:
            state = _resume(config, find_run(Path(resume)), scene_file)
        return _run(state, name, scene_file, console or Console())


@dataclass(frozen=True)
class _RunState:
    """A run before its first or next step. before: metrics rows of earlier steps; started, clock: when it began."""

    setup: FitSetup
    folder: RunFolder
    before: list[dict[str, Any]]
    started: datetime
    clock: float


def _start(config: FitConfig, name: str, scene_file: Path | None, out: Path) -> _RunState:
    started, clock = datetime.now(), time.perf_counter()
    check_writable(out)
    setup = build_within_minutes(config, _check_in_view)
    folder = create_run_folder(out, name, started)
    if scene_file is not None:
        write_text(folder.path / "scene.yaml", scene_file.read_text(encoding="utf-8-sig"))
    write_text(folder.path / RESOLVED, format_resolved(setup.config, setup.reasons))
    for program in programs_of(setup.config):
        file = Path(str(program["file"]))
        copies = folder.folder("programs")
        write_bytes(copies / f"{program['of']}_{file.name}", file.read_bytes())
        for module in program["modules"]:
            (copies / module).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(copies / module, (file.parent / module).read_bytes())
    return _RunState(setup, folder, [], started, clock)


def _resume(config: FitConfig, folder: RunFolder, scene_file: Path | None) -> _RunState:
    started, clock = datetime.now(), time.perf_counter()
    check_writable(folder.path)
    checkpoint = find_checkpoint(folder)
    own = folder.path / RESOLVED
    before = load_config(own)
    if config.optimize.minutes is not None:
        steps = {"steps": before.optimize.steps, "minutes": None}
        config = config.model_copy(update={"optimize": config.optimize.model_copy(update=steps)})
    setup = build_fit(config)
    check_same_scene(folder, before, setup.config, scene_file is not None and scene_file == own)
    steps_done = load_checkpoint(checkpoint, setup.model, setup.optimizer, setup.best)
    check_unfinished(folder, steps_done, setup.settings.steps)
    rows = read_metric_rows(folder, steps_done)
    write_text(folder.path / RESOLVED, format_resolved(setup.config, setup.reasons))
    return _RunState(setup, folder, rows, started, clock)


def _run(state: _RunState, name: str, scene_file: Path | None, console: Console) -> RunResult:
    setup, folder, first_step = state.setup, state.folder, len(state.before)
    with ExitStack() as stack:
        log = stack.enter_context(
            (folder.path / "log.txt").open("a" if first_step else "w", encoding="utf-8", errors="replace")
        )
        consoles = [console, Console(file=log, width=LOG_WIDTH)]
        full_px = math.sqrt(setup.fit_views.cameras.height * setup.fit_views.cameras.width)
        sides_px = [scale * full_px for scale in setup.settings.scales]
        panels = [FitPanel(sides_px, shown_on) for shown_on in consoles]
        recorder = stack.enter_context(Recorder(setup, folder, state.before))
        evaluator = Evaluator(setup)
        initial = evaluator.evaluate(setup.scene, setup.fit_views.cameras)
        judge = Judge(setup, initial)
        write_meshes(folder, "initial", setup.config.export, setup.scene, origin=setup.origin)
        recorder.start()
        for panel in panels:
            panel.opening(opening_text(name, setup, initial, folder, judge.warnings))
        with ExitStack() as live:
            for panel in panels:
                live.enter_context(panel)
            result = fit(
                setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step,
                observers=[recorder, *panels], first_step=first_step, best=setup.best, edges_at=setup.edges.at,
            )  # fmt: skip
        result = replace(result, seconds=result.seconds + recorder.seconds_before)
        remarks: list[str] = []
        with _attempted("what no view shows could not be flattened", remarks):
            result = _flatten_unseen(setup, result, remarks)
        with _attempted("texels that no view shows could not be filled", remarks):
            result = _fill_unseen_texels(setup, result)
        _write_result(folder, setup, result, recorder)
        final = evaluator.evaluate(result.scene, result.cameras, refine=True)
        write_cameras(folder, setup, result.cameras, final.heldout)
        failures = [LATEST_KEPT.format(folder.path.parent / LATEST)] if folder.is_latest_kept else []
        _write_extras(folder, setup, result, final, recorder, failures)
        export_db = None
        with _noted("the exported GLB could not be checked", failures):
            export_db = _check_export(folder, setup, result)
        posterior, deviations, covariance = None, {}, {}
        with _noted("the standard deviations of what was learned could not be found", failures):
            posterior = find_posterior(setup, result)
            deviations, covariance = find_deviations(posterior), find_covariance(posterior)
        with _noted(f"{PLOT} could not be drawn", failures):
            draw_program(folder.path / PLOT, setup, result, posterior)
        notes = (*setup.notes, *remarks, *_notes_on_faces(setup, result), *failures)
        seconds = time.perf_counter() - state.clock + recorder.seconds_before
        flips = sum_flips(recorder.rows)
        verdict = judge.verdict(result, final, recorder.rows, folder.path)
        outcome = RunOutcome(
            name, folder, setup, initial, final, flips, export_db, result, state.started, seconds, verdict,
            deviations, covariance, notes,
        )  # fmt: skip
        metrics = outcome.as_json()
        write_json(folder.path / "metrics.json", metrics)
        _write_manifest(state, result, scene_file, seconds, notes)
        write_report(folder.path / "report.html", build_report(outcome))
        for panel in panels:
            panel.closing(closing_text(outcome))
    return RunResult(folder.path, result, metrics)


def _check_in_view(setup: FitSetup) -> None:
    """Raise ConfigError, with likely causes, if no fitted view sees the initial scene: there would be no gradient."""
    cameras = setup.fit_views.cameras
    for view in range(len(cameras)):
        with torch.no_grad():
            is_covered = setup.render_views(setup.scene, cameras.select([view])).face_id >= 0
        if bool(is_covered.any()):
            return
    doubt = doubt_poses(setup.fit_views, setup.origin)
    causes = "".join(f". {reason}" for reason in judge_targets(setup))
    corners = torch.cat([item.vertices_w() for item in setup.scene.objects.values()])
    low, high = (", ".join(f"{x:.3g}" for x in end.tolist()) for end in (corners.amin(0), corners.amax(0)))
    eye = ", ".join(f"{x:.3g}" for x in cameras.positions_w()[0].tolist())
    cause = f"Of the targets, {doubt}" if doubt else CHECK_PLACE
    if setup.program is not None:
        options, starts = setup.program.options, setup.scene.program.items()
        called = f"{options.function}({', '.join(f'{name}={written(value)}' for name, value in starts)})"
        cause = f"Check where {called} of {options.file} puts its objects, and their scale. {cause}"
    raise ConfigError(
        f"none of the {len(cameras)} fitted views sees the initial scene, which spans ({low}) to ({high}); the first"
        f" camera is at ({eye}). {cause}{causes}"
    )


def _flatten_unseen(setup: FitSetup, result: FitResult, remarks: list[str]) -> FitResult:
    """Flatten the bottom of a learned shape that was carved where no fitted view shows it; say so in `remarks`."""
    paths = (ParameterPath.parse(path) for path in setup.model.latents)
    learned = {path.name for path in paths if (path.part, path.field) == ("mesh", "vertices")}
    scene = result.scene
    for item in setup.config.all_objects():
        if item.name in learned and isinstance(item.mesh, VisualHullMesh) and item.mesh.flatten_unseen:
            scene = flatten_unseen(scene, item.name, result.cameras, setup.fit_views.weights)
    if scene is not result.scene:
        remarks.append(FLATTENED)
    return replace(result, scene=scene)


def _fill_unseen_texels(setup: FitSetup, result: FitResult) -> FitResult:
    """Fill texels of learned textures that no fitted view shows."""
    weights = setup.fit_views.weights
    scene = fill_unseen_texels(result.scene, result.cameras, setup.model.latents, setup.render_views, weights)
    return replace(result, scene=scene)


def _write_result(folder: RunFolder, setup: FitSetup, result: FitResult, recorder: Recorder) -> None:
    # The most valuable first: if anything later fails, the mesh is written.
    write_meshes(folder, "final", setup.config.export, result.scene, result.cameras, setup.origin)
    views = setup.fit_views
    write_appearance(folder, result.scene, setup.origin)
    write_cameras(folder, setup, result.cameras)
    save_scene(folder.path / SCENE_FILE, SavedScene(result.scene, result.cameras, views.names, setup.origin))
    recorder.end(result.steps_done)


def _write_extras(
    folder: RunFolder, setup: FitSetup, result: FitResult, final: Evaluation, recorder: Recorder, failures: list[str]
) -> None:
    """Write what a run can do without: pictures, videos and curves; adds what fails to `failures`."""
    with _noted(f"{SHAPE} could not be written", failures):
        write_shape(folder.path / SHAPE, setup, result, recorder.shown)
    with _noted(f"{WORST} could not be written", failures):
        write_worst(folder.path / WORST, setup, result, final)
    with _noted("progress.mp4 could not be written", failures):
        recorder.write_video()
    with _noted("curves.png could not be written", failures):
        if recorder.rows:
            write_curves(recorder.rows, folder.path / "curves.png")
    with _noted("turntable.mp4 could not be written", failures):
        if setup.config.progress.turntable:
            turntable = folder.path / "turntable.mp4"
            write_turntable(turntable, result.scene, result.cameras, setup.render_views, display=setup.display)


def _notes_on_faces(setup: FitSetup, result: FitResult) -> list[str]:
    """Return a note on each remeshed object that could not be made as coarse as most_faces asks for."""
    notes = []
    for path, targets in setup.optimizer.target_lengths.items():
        names, most = setup.model.template.index_at(path), targets.policy.most_faces
        n_faces = sum(result.scene.objects[name].mesh.n_faces for name in names)
        if n_faces > most:
            notes.append(f"optimize.{path}.remesh: {n_faces:,} faces were left, above most_faces: {most:,}")
    return notes


@contextmanager
def _noted(what: str, failures: list[str]) -> Iterator[None]:
    """Turn any error into an entry of `failures`: a run's results must not be lost for an extra."""
    try:
        yield
    except Exception as error:
        failures.append(f"{what}: {next(iter(str(error).splitlines()), type(error).__name__)}")


@contextmanager
def _attempted(what: str, failures: list[str]) -> Iterator[None]:
    """Do as `_noted`, and the same with Ctrl-C: what was fitted is not written yet."""
    with _noted(what, failures):
        try:
            yield
        except KeyboardInterrupt:
            failures.append(f"{what}: interrupted")


def _check_export(folder: RunFolder, setup: FitSetup, result: FitResult) -> float | None:
    """Return the PSNR in dB of the exported GLB against the fitted scene; None if none was exported."""
    if "glb" not in setup.config.export:
        return None
    still = replace(result.scene, motion=None)  # as files have it
    return export_psnr_db(glb_path(folder, "final"), still, result.cameras, setup.render_views, setup.origin)


def _write_manifest(
    state: _RunState, result: FitResult, scene_file: Path | None, seconds: float, notes: tuple[str, ...]
) -> None:
    setup = state.setup
    write_manifest(
        state.folder.path / "manifest.json",
        command=sys.argv,
        scene_file=scene_file,
        device=setup.device,
        backends=backends_by_op(setup.device),
        seed=setup.settings.seed,
        stop_reason=result.stop_reason,
        message=result.message,
        steps_done=result.steps_done,
        seconds=seconds,
        started=state.started,
        first_step=len(state.before),
        notes=notes,
        programs=programs_of(setup.config),
    )
