"""A whole run: build, score the initial guess, fit, score the result, and write everything into one folder."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from diffrender.app.evaluation import Evaluator, flip_statistics
from diffrender.app.export_check import export_psnr_db
from diffrender.app.export_scene import glb_path, write_appearance, write_meshes
from diffrender.app.report_data import build_report
from diffrender.app.resume import (
    RESOLVED,
    check_same_scene,
    check_unfinished,
    find_checkpoint,
    find_run,
    read_metric_rows,
)
from diffrender.app.run_outcome import RunOutcome
from diffrender.app.run_recorder import Recorder
from diffrender.app.scene_file import SCENE_FILE, save_scene
from diffrender.app.terminal_text import closing_text, opening_text
from diffrender.app.turntable import write_turntable
from diffrender.config.load import load_config
from diffrender.config.resolved import format_resolved
from diffrender.config.schema import FitConfig
from diffrender.errors import ConfigError
from diffrender.fit.checkpoint import load_checkpoint
from diffrender.fit.fill_unseen_texels import fill_unseen_texels
from diffrender.fit.loop import FitResult, fit
from diffrender.ops.backend import backends_by_op
from diffrender.setup.fit_setup import FitSetup, build_fit
from diffrender.threads import kernel_threads, threads_to_kernels
from diffrender.writers.atomic import write_text
from diffrender.writers.report.curves import write_curves
from diffrender.writers.report.report import write_report
from diffrender.writers.report.terminal import FitPanel
from diffrender.writers.run.manifest import write_manifest
from diffrender.writers.run.metrics import write_json
from diffrender.writers.run.run_folder import RunFolder, check_writable, create_run_folder

LOG_WIDTH = 120


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

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
    """Fits `config` and writes <out>/<name>/<time>/; Ctrl-C and non-finite values end the fit, not the writing.

    name: of the scene, a plain folder name.
    scene_file: is copied into the folder as scene.yaml; None where the config was made in Python.
    console: where progress is shown; by default standard output.
    resume: the folder of a run of the same scene, which goes on from its last checkpoint in the same folder (`out` is
        not used); on the device that it ran on, it ends as if it had never stopped, bit for bit.
    Raises ConfigError, DataError or BackendError before the fit where the scene cannot be built or the run not be
    resumed, DataError where the folder cannot be written, FitError where nothing depends on an optimised value.
    """
    with threads_to_kernels(kernel_threads()):
        if resume is None:
            begun = _start(config, name, scene_file, Path(out))
        else:
            begun = _resume(config, find_run(Path(resume)))
        return _run(begun, name, scene_file, console or Console())


@dataclass(frozen=True)
class _RunState:
    """A run that can start or go on: what it fits, its folder, rows of the steps done before, when all this began."""

    setup: FitSetup
    folder: RunFolder
    before: list[dict[str, Any]]
    started: datetime
    clock: float


def _start(config: FitConfig, name: str, scene_file: Path | None, out: Path) -> _RunState:
    started, clock = datetime.now(), time.perf_counter()
    check_writable(out)
    setup = build_fit(config)
    _check_in_view(setup)
    folder = create_run_folder(out, name, started)
    if scene_file is not None:
        write_text(folder.path / "scene.yaml", scene_file.read_text(encoding="utf-8-sig"))
    write_text(folder.path / RESOLVED, format_resolved(setup.config))
    return _RunState(setup, folder, [], started, clock)


def _resume(config: FitConfig, folder: RunFolder) -> _RunState:
    started, clock = datetime.now(), time.perf_counter()
    check_writable(folder.path)
    checkpoint = find_checkpoint(folder)
    setup = build_fit(config)
    check_same_scene(folder, load_config(folder.path / RESOLVED), setup.config)
    steps_done = load_checkpoint(checkpoint, setup.model, setup.optimizer)
    check_unfinished(folder, steps_done, setup.settings.steps)
    before = read_metric_rows(folder, steps_done)
    write_text(folder.path / RESOLVED, format_resolved(setup.config))
    return _RunState(setup, folder, before, started, clock)


def _run(begun: _RunState, name: str, scene_file: Path | None, console: Console) -> RunResult:
    setup, folder, first_step = begun.setup, begun.folder, len(begun.before)
    with ExitStack() as stack:
        log = stack.enter_context((folder.path / "log.txt").open("a" if first_step else "w", encoding="utf-8"))
        consoles = [console, Console(file=log, width=LOG_WIDTH)]
        panels = [FitPanel(setup.settings.steps, each) for each in consoles]
        recorder = stack.enter_context(Recorder(setup, folder, begun.before))
        judge = Evaluator(setup)
        initial = judge.evaluate(setup.scene, setup.fit_views.cameras)
        write_meshes(folder, "initial", setup.config.export, setup.scene)
        recorder.start()
        for panel in panels:
            panel.opening(opening_text(name, setup, initial, folder))
        with ExitStack() as live:
            for panel in panels:
                live.enter_context(panel)
            result = fit(
                setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step,
                observers=[recorder, *panels], first_step=first_step,
            )  # fmt: skip
        result = _fill_unseen_texels(setup, replace(result, seconds=result.seconds + recorder.seconds_before))
        _write_result(folder, setup, result, recorder)
        final = judge.evaluate(result.scene, result.cameras)
        export_db = _check_export(folder, setup, result)
        seconds = time.perf_counter() - begun.clock + recorder.seconds_before
        flips = flip_statistics(recorder.rows)
        outcome = RunOutcome(name, folder, setup, initial, final, flips, export_db, result, begun.started, seconds)
        metrics = outcome.as_json()
        write_json(folder.path / "metrics.json", metrics)
        _write_manifest(begun, result, scene_file, seconds)
        write_report(folder.path / "report.html", build_report(outcome))
        for panel in panels:
            panel.closing(closing_text(outcome))
    return RunResult(folder.path, result, metrics)


def _check_in_view(setup: FitSetup) -> None:
    """Raise ConfigError where no fitted view sees anything of the start: there would be nothing to learn from."""
    cameras = setup.fit_views.cameras
    for view in range(len(cameras)):
        with torch.no_grad():
            seen = setup.render_views(setup.scene, cameras.select([view])).face_id >= 0
        if bool(seen.any()):
            return
    corners = torch.cat([item.vertices_w() for item in setup.scene.objects.values()])
    low, high = (", ".join(f"{x:.3g}" for x in end.tolist()) for end in (corners.amin(0), corners.amax(0)))
    eye = ", ".join(f"{x:.3g}" for x in cameras.positions_w()[0].tolist())
    raise ConfigError(
        f"none of the {len(cameras)} fitted views sees anything of the start, which reaches from ({low}) to ({high});"
        f" the first camera is at ({eye}). Put the start in front of the cameras with mesh.center, mesh.radius or pose,"
        " or check which way the cameras look: transforms.json holds camera-to-world matrices that look along -z"
    )


def _fill_unseen_texels(setup: FitSetup, result: FitResult) -> FitResult:
    """The result with its learned textures filled where no fitted view shows them."""
    scene = fill_unseen_texels(result.scene, result.cameras, setup.model.latents, setup.render_views)
    return replace(result, scene=scene)


def _write_result(folder: RunFolder, setup: FitSetup, result: FitResult, recorder: Recorder) -> None:
    # The most valuable first: whatever goes wrong later, the mesh is there.
    write_meshes(folder, "final", setup.config.export, result.scene, result.cameras)
    write_appearance(folder, result.scene, result.cameras, setup.fit_views.names)
    save_scene(folder.path / SCENE_FILE, result.scene, result.cameras)
    recorder.end(result.steps_done)
    if recorder.rows:
        write_curves(recorder.rows, folder.path / "curves.png")
    if setup.config.progress.turntable:
        write_turntable(
            folder.path / "turntable.mp4", result.scene, result.cameras, setup.render_views, display=setup.display
        )


def _check_export(folder: RunFolder, setup: FitSetup, result: FitResult) -> float | None:
    """How much the exported GLB looks like the fitted scene, in dB; None where none was exported."""
    if "glb" not in setup.config.export:
        return None
    return export_psnr_db(glb_path(folder, "final"), result.scene, result.cameras, setup.render_views)


def _write_manifest(begun: _RunState, result: FitResult, scene_file: Path | None, seconds: float) -> None:
    setup = begun.setup
    write_manifest(
        begun.folder.path / "manifest.json",
        command=sys.argv,
        scene_file=scene_file,
        device=setup.device,
        backends=backends_by_op(setup.device),
        seed=setup.settings.seed,
        stop_reason=result.stop_reason,
        message=result.message,
        steps_done=result.steps_done,
        seconds=seconds,
        started=begun.started,
        first_step=len(begun.before),
    )
