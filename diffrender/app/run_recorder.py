"""Record a fit while it runs: metrics of each step, pictures, video frames, checkpoints."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffrender.app.earlier_run import CHECKPOINT, METRICS_LOG
from diffrender.app.evaluation import match_heldout_exposure
from diffrender.fit.checkpoint import save_checkpoint
from diffrender.fit.model import SceneModel
from diffrender.fit.step import StepRecord
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene
from diffrender.scene.target_views import Views, evenly_spaced_indices
from diffrender.setup.fit_setup import FitSetup
from diffrender.writers.images.video import read_frame, write_video
from diffrender.writers.report.progress_panels import ProgressPanels
from diffrender.writers.run.metrics import MetricsLog
from diffrender.writers.run.run_folder import RunFolder

# Enough for a smooth video of a few seconds, few enough to cost little compared with the fit.
VIDEO_FRAMES = 48
VIDEO_FPS = 12.0
VIDEO_HOLD_S = 1.5


class Recorder:
    """Writes metrics.jsonl, progress pictures, frames for progress.mp4 and checkpoints of one fit.

    Enter it around the fit, pass it as one of its observers, and call `start` before and `end` after it.

    before: the metrics rows of earlier steps of a resumed run. Its pictures up to there are kept and begin the video.
    seconds_before: how long those steps took.
    """

    def __init__(self, setup: FitSetup, folder: RunFolder, before: Sequence[Mapping[str, Any]] = ()) -> None:
        options = setup.config.progress
        self._setup = setup
        self._folder = folder
        self._steps = setup.settings.steps
        self._weights = {term.name: term.weight for term in setup.objective.terms}
        self._picture_steps = evenly_spaced_steps(self._steps, options.pictures)
        self._frame_steps = evenly_spaced_steps(self._steps, VIDEO_FRAMES) if options.video else set()
        self._shown = ShownViews(setup, options.views)
        self._panels = ProgressPanels(self._shown.views, display=setup.display)
        self._frames = _Frames()
        self._first_step = len(before)
        self._drawn: set[tuple[str, int]] = set()
        self._loss: float | None = before[-1]["total"] if before else None
        self.seconds_before: float = before[-1]["seconds"] if before else 0.0
        self._log = MetricsLog(folder.path / METRICS_LOG, before)

    @property
    def rows(self) -> list[dict[str, object]]:
        """The rows of metrics.jsonl so far."""
        return [dict(row) for row in self._log.rows]

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self._log.close()
        self._frames.close()

    def start(self) -> None:
        """Draw the initial scene, or reuse the pictures of earlier steps."""
        if self._first_step == 0:
            self._draw(0, self._setup.model)
            return
        for step in range(self._first_step + 1):
            picture = self._folder.progress_picture(step)
            if picture.is_file():
                self._drawn.add(("picture", step))
                if self._frame_steps:
                    self._frames.append(read_frame(picture))
                    self._drawn.add(("frame", step))

    def on_step(self, record: StepRecord, model: SceneModel) -> None:
        """Write the step's metrics and, if due, pictures of the state after it and a checkpoint."""
        terms = {name: self._weights[name] * value for name, value in record.terms.items()}
        row = {"step": record.step, "total": record.total, "terms": terms}
        geometry = {"geometry": dict(record.geometry)} if record.geometry else {}
        self._log.append(
            row | {"psnr_db": record.psnr_db, "seconds": round(self.seconds_before + record.seconds, 4)} | geometry
        )
        self._loss = record.total
        done = record.step + 1
        self._draw(done, model)
        if done in self._picture_steps:
            save_checkpoint(self._folder.checkpoints / CHECKPOINT, model, self._setup.optimizer, done, self._setup.best)

    def end(self, steps_done: int) -> None:
        """Draw the final state and write the last checkpoint."""
        model = self._setup.model
        self._draw(steps_done, model, is_last=True)
        save_checkpoint(
            self._folder.checkpoints / CHECKPOINT, model, self._setup.optimizer, steps_done, self._setup.best
        )

    def write_video(self) -> None:
        """Write progress.mp4 of the frames, if there are any. Raises DataError or BackendError if that fails."""
        if len(self._frames) > 0:
            write_video(self._frames.frames(), self._folder.path / "progress.mp4", VIDEO_FPS, VIDEO_HOLD_S)

    def _is_due(self, kind: str, done: int, steps: set[int], is_last: bool) -> bool:
        return bool(steps) and (is_last or done in steps) and (kind, done) not in self._drawn

    def _draw(self, done: int, model: SceneModel, is_last: bool = False) -> None:
        as_picture = self._is_due("picture", done, self._picture_steps, is_last)
        as_frame = self._is_due("frame", done, self._frame_steps, is_last)
        if not (as_picture or as_frame):
            return
        rgba = self._shown.render(*model.snapshot())
        if as_picture:
            path = self._folder.progress_picture(done)
            pixels = self._panels.write(path, rgba, done, self._steps, self._loss)
        else:
            pixels = self._panels.picture(rgba, done, self._steps, self._loss)
        if as_frame:
            self._frames.append(pixels)
        self._drawn |= {("picture", done)} if as_picture else set()
        self._drawn |= {("frame", done)} if as_frame else set()


class ShownViews:
    """The views in the progress pictures: some fitted ones and, if they have the same size, some held-out ones.

    views: the shown views, in order; names of held-out views say so.
    """

    def __init__(self, setup: FitSetup, count: int) -> None:
        self._setup = setup
        fit, heldout = setup.fit_views, setup.heldout_views
        if heldout is not None and heldout.images.shape[1:] != fit.images.shape[1:]:
            heldout = None
        n_heldout = 0 if heldout is None else min(len(heldout), count // 2)
        self._fit_index = evenly_spaced_indices(len(fit), count - n_heldout)
        self.views = fit.select(self._fit_index)
        self._heldout_index: list[int] = []
        if heldout is not None and n_heldout > 0:
            self._heldout_index = evenly_spaced_indices(len(heldout), n_heldout)
            shown = heldout.select(self._heldout_index)
            shown = replace(shown, names=tuple(f"{name}, held out" for name in shown.names))
            self.views = _concatenate_views(self.views, shown)

    @torch.no_grad()
    def render(self, scene: Scene, fit_cameras: Cameras) -> Tensor:
        """Render `scene` in the shown views [n, H, W, 4]. fit_cameras: of all fitted views, as learned so far."""
        images = [self._setup.render_views(scene, fit_cameras.select(self._fit_index)).rgba]
        if self._heldout_index:
            heldout = match_heldout_exposure(self._setup, scene, self._heldout_index)
            assert heldout is not None
            images.append(self._setup.render_views(scene, heldout.cameras).rgba)
        return torch.cat(images)


class _Frames:
    """Frames of one size, kept on disk until the video is written, since they may not fit in memory."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the recorder)
        self._shape: tuple[int, ...] = (0, 0, 3)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, pixels: np.ndarray) -> None:
        self._shape = pixels.shape
        self._file.write(pixels.tobytes())
        self._count += 1

    def frames(self) -> Iterator[np.ndarray]:
        self._file.seek(0)
        size = int(np.prod(self._shape))
        for _ in range(self._count):
            yield np.frombuffer(self._file.read(size), dtype=np.uint8).reshape(self._shape)

    def close(self) -> None:
        self._file.close()


def evenly_spaced_steps(steps: int, count: int) -> set[int]:
    """Return `count` evenly spaced steps of 0..steps, with both ends; none for count 0, the last for count 1."""
    if count == 0:
        return set()
    if count == 1:
        return {steps}
    return {round(i * steps / (count - 1)) for i in range(count)}


def _concatenate_views(first: Views, second: Views) -> Views:
    """Concatenate views of the same image size; masks and per-view exposures are dropped."""
    a, b = first.cameras, second.cameras
    cameras = replace(
        a.without_gains(),
        number=None,
        cam_from_world=torch.cat([a.cam_from_world, b.cam_from_world]),
        focal_px=torch.cat([a.focal_px, b.focal_px]),
        center_px=torch.cat([a.center_px, b.center_px]),
        projection=a.projection.concatenate(b.projection),
    )
    return Views(cameras, torch.cat([first.images, second.images]), None, first.names + second.names)
