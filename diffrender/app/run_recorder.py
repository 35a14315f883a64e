"""Record a fit while it runs: metrics of each step, pictures, video frames, checkpoints."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from diffrender.app.earlier_run import CHECKPOINT, METRICS_LOG
from diffrender.app.shown_views import ShownViews, render_clay
from diffrender.fit.checkpoint import save_checkpoint
from diffrender.fit.model import SceneModel
from diffrender.fit.step import StepRecord
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene
from diffrender.setup.fit_setup import FitSetup
from diffrender.threads import threads_to_kernels
from diffrender.writers.images.png import write_encoded_png
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

    Enter it around the fit, pass it as one of its observers, and call `start` before and `end` after it. Pictures are
    drawn in a thread of their own while the fit goes on, one at a time; what fails there is raised with the next one.

    before: the metrics rows of earlier steps of a resumed run. Its pictures up to there are kept and begin the video.
    shown: the views in the pictures, the same in all of them.
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
        self.shown = ShownViews.spread(setup, options.views)
        self._panels = ProgressPanels(self.shown.views, display=setup.display)
        self._frames = _Frames()
        self._first_step = len(before)
        self._drawn: set[tuple[str, int]] = set()
        self._loss: float | None = before[-1]["total"] if before else None
        self.seconds_before: float = before[-1]["seconds"] if before else 0.0
        self._log = MetricsLog(folder.path / METRICS_LOG, before)
        self._painter = ThreadPoolExecutor(1, "diffrender_pictures")
        self._drawing: Future[None] | None = None

    @property
    def rows(self) -> list[dict[str, object]]:
        """The rows of metrics.jsonl so far."""
        return [dict(row) for row in self._log.rows]

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self._painter.shutdown()
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
                    self._keep_frame(step, read_frame(picture))

    def _keep_frame(self, step: int, pixels: np.ndarray) -> None:
        # A picture of an earlier version may have another size, to which a video cannot change.
        if pixels.shape[1::-1] == self._panels.grid.size:
            self._frames.append(pixels)
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
            self._finish_drawing()  # a run that goes on from here has all pictures before
            save_checkpoint(self._folder.checkpoints / CHECKPOINT, model, self._setup.optimizer, done, self._setup.best)

    def end(self, steps_done: int) -> None:
        """Draw the final state and write the last checkpoint."""
        model = self._setup.model
        self._draw(steps_done, model, is_last=True)
        self._finish_drawing()
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
        self._finish_drawing()
        drawn = (*model.snapshot(), done, self._loss, as_picture, as_frame)
        self._drawing = self._painter.submit(self._draw_snapshot, *drawn)
        if self._setup.program is not None and self._setup.program.has_own_dtype:
            self._finish_drawing()  # beside its calls, numbers would be of another dtype in the picture as well
        self._drawn |= {("picture", done)} if as_picture else set()
        self._drawn |= {("frame", done)} if as_frame else set()

    def _finish_drawing(self) -> None:
        """Wait for the picture that is being drawn, and raise what went wrong there."""
        if self._drawing is not None:
            drawing, self._drawing = self._drawing, None
            drawing.result()

    @threads_to_kernels(1)  # beside those of the fit
    def _draw_snapshot(
        self, scene: Scene, fit_cameras: Cameras, done: int, loss: float | None, as_picture: bool, as_frame: bool
    ) -> None:
        rgba = self.shown.render(scene, fit_cameras)
        clay = render_clay(scene, self.shown.cameras(fit_cameras), self._panels.grid.cell)
        pixels = self._panels.picture(rgba, clay, f"step {done}", f"of {self._steps}", loss)
        if as_picture:
            write_encoded_png(self._folder.progress_picture(done), pixels)
        if as_frame:
            self._frames.append(pixels)


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
