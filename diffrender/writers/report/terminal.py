"""Messages of a fit in the terminal: what it is about to do, its progress, and its results."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from diffrender.writers.report.step_timer import StepTimer

# Lines without a live bar, about: few enough for readable logs.
PLAIN_LINES = 20
UNKNOWN = "-"
VERDICT_STYLES = {"good": "green", "doubtful": "yellow", "failed": "red"}


class StepNumbers(Protocol):
    """What the panel shows of a step."""

    @property
    def step(self) -> int:
        """Its number, from 0."""
        ...

    @property
    def total(self) -> float:
        """The objective."""
        ...

    @property
    def psnr_db(self) -> float:
        """PSNR of the batch's renderings."""
        ...


@dataclass(frozen=True)
class Opening:
    """Content of the message before the first step.

    scene: its name. device: with the backends.
    n_fit, n_heldout: numbers of views; width, height: of their images.
    start: the initial guess in words ("sphere, 2,562 vertices, 5,120 faces").
    start_scores: (name, unit, value) of the initial guess, such as ("held-out PSNR", "dB", 12.3); NaN if unknown.
    parameters: what is optimised: (path, details), such as ("mesh.vertices", "lr 0.01, 2,562 vertices").
    folder: where the results go.
    warnings: what is probably not meant. notes: what of the files was changed or not read.
    """

    scene: str
    device: str
    n_fit: int
    n_heldout: int
    width: int
    height: int
    start: str
    start_scores: Sequence[tuple[str, str, float]]
    parameters: Sequence[tuple[str, str]]
    folder: Path
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Closing:
    """Content of the message after the last step.

    verdict: "good", "doubtful" or "failed"; reasons: (what was found, what to change).
    stop_reason: "finished", "interrupted", "non_finite", "diverged" or "program"; message: its explanation, or None.
    steps_done, seconds: of the whole run.
    scores: (name, unit, before, after), such as ("held-out PSNR", "dB", 12.3, 29.8); NaN if unknown.
    files: (what, path), such as ("mesh", outputs/.../mesh/final.glb).
    facts: (what, words), such as ("geometry", "2,562 vertices, 5,120 faces; watertight, ...").
    next_command: a command to try next, or None.
    """

    verdict: str
    reasons: Sequence[tuple[str, str]]
    stop_reason: str
    steps_done: int
    seconds: float
    scores: Sequence[tuple[str, str, float, float]]
    files: Sequence[tuple[str, Path]]
    facts: Sequence[tuple[str, str]] = ()
    next_command: str | None = None


@dataclass
class FitPanel:
    """A progress bar with loss, batch PSNR, steps/s and the time left; without a terminal, about 20 plain lines.

    Enter it around the fit and pass it as one of the fit's observers.

    sides_px: of the images of each step of the fit, in pixels.
    console: to write to; rich knows whether it is a terminal.
    clock: replaced in tests.
    """

    sides_px: Sequence[float]
    console: Console = field(default_factory=Console)
    clock: Callable[[], float] = time.perf_counter
    _progress: Progress | None = None
    _task: TaskID | None = None

    def __post_init__(self) -> None:
        self.n_steps, self._timer = len(self.sides_px), StepTimer(self.sides_px, self.clock)

    def opening(self, opening: Opening) -> None:
        """Print the message before the first step."""
        self._print(Text.assemble("\n  ", ("diffrender fit ", "dim"), (opening.scene, "bold"), "\n"))
        heldout = f", {opening.n_heldout} held out" if opening.n_heldout else ""
        total = opening.n_fit + opening.n_heldout
        views = f"{total} {'view' if total == 1 else 'views'} of {opening.width} x {opening.height}"
        scores = opening.start_scores
        rows = [
            ("targets", Text(f"{views}: {opening.n_fit} fitted{heldout}")),
            ("start", Text(opening.start)),
            ("", Text(", ".join(f"{name} {_score(value, unit)} {unit}".rstrip() for name, unit, value in scores))),
        ]
        width = max((len(path) for path, _ in opening.parameters), default=0)
        for index, (path, details) in enumerate(opening.parameters):
            line = Text.assemble((path.ljust(width), "cyan"), "  ", (details, "dim"))
            rows.append(("optimise" if index == 0 else "", line))
        rows += [("device", Text(opening.device)), ("results", Text(str(opening.folder)))]
        rows += [("warning", Text(warning, style="yellow")) for warning in opening.warnings]
        rows += [("note", Text(note)) for note in opening.notes]
        self._rows([(name, line) for name, line in rows if line.plain])
        self._print(Text(""))

    def __enter__(self) -> FitPanel:
        if self.console.is_terminal:
            progress = Progress(
                TextColumn(" "),
                BarColumn(bar_width=None, complete_style="cyan", finished_style="green"),
                TextColumn("{task.fields[status]}"),
                console=self.console,
                expand=True,
            )
            self._task = progress.add_task("fit", total=self.n_steps, status=_starting_status(self.n_steps))
            self._progress = progress
            progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = self._task = None

    def on_step(self, record: StepNumbers, model: object) -> None:
        """Show a finished step; `model` is not used."""
        self._timer.tick(record.step)
        done = record.step + 1
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, status=self._status(record, done))
            return
        every = max(1, self.n_steps // PLAIN_LINES)
        if done % every == 0 or done in (1, self.n_steps):
            self._print(Text("  step ").append_text(self._status(record, done)))

    def closing(self, closing: Closing) -> None:
        """Print the message after the last step."""
        what = closing.stop_reason.replace("_", "-")
        after = f"  {what} after {closing.steps_done:,} steps, {_duration(closing.seconds)}"
        self._print(Text.assemble("\n  ", (closing.verdict, f"bold {VERDICT_STYLES[closing.verdict]}"), after))
        for text, remedy in closing.reasons:
            self._print(Text(f"  {text}", style=VERDICT_STYLES[closing.verdict]))
            if remedy:
                self._print(Text(f"    {remedy}"))
        self._print(Text(""))
        if closing.scores:
            self._score_table(closing.scores)
        rows = [(what, Text(words)) for what, words in closing.facts]
        rows += [(what, Text(str(where))) for what, where in closing.files]
        if closing.next_command:
            rows.append(("next", Text(closing.next_command, style="cyan")))
        self._rows(rows)
        self._print(Text(""))

    def _status(self, record: StepNumbers, done: int) -> Text:
        rate, left = self._timer.steps_per_s, self._timer.remaining_s
        digits = len(str(self.n_steps))
        score = f"{record.psnr_db:.1f}" if math.isfinite(record.psnr_db) else UNKNOWN
        return Text.assemble(
            (f"{done:>{digits}}", "bold"),
            (f"/{self.n_steps}", "dim"),
            ("   loss ", "dim"),
            f"{_significant(record.total):<7}",
            ("  batch PSNR ", "dim"),
            f"{score:>4}",
            (" dB   ", "dim"),
            f"{UNKNOWN if rate is None else format(rate, '.1f'):>5}",
            (" steps/s   ", "dim"),
            f"{UNKNOWN if left is None else _clock(left):>5}",
            (" left", "dim"),
        )

    def _score_table(self, scores: Sequence[tuple[str, str, float, float]]) -> None:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=True, header_style="dim")
        table.add_column("  ")
        table.add_column("start", justify="right")
        table.add_column("end", justify="right")
        table.add_column("")
        for name, unit, before, after in scores:
            table.add_row(f"  {name}", _score(before, unit), Text(_score(after, unit), style="bold"), unit)
        self.console.print(table)
        self._print(Text(""))

    def _rows(self, rows: Sequence[tuple[str, Text]]) -> None:
        width = max((len(name) for name, _ in rows), default=0)
        for name, line in rows:
            self._print(Text.assemble("  ", (name.ljust(max(width, 8)), "dim"), "  ", line))

    def _print(self, line: Text) -> None:
        # Without line breaks of our own, so that paths can be copied whole.
        self.console.print(line, soft_wrap=True, highlight=False)


def _starting_status(n_steps: int) -> Text:
    return Text.assemble(("0", "bold"), (f"/{n_steps}   compiling and starting", "dim"))


def _significant(value: float) -> str:
    return f"{value:.4f}" if 1e-3 <= abs(value) < 100 else f"{value:.2e}"


def _score(value: float, unit: str) -> str:
    """Return decibels to a tenth, shares of one to a thousandth."""
    if not math.isfinite(value):
        return UNKNOWN
    return f"{value:.1f}" if unit == "dB" else f"{value:.3f}"


def _clock(seconds: float) -> str:
    """Return m:ss, or h:mm:ss from an hour on."""
    minutes, second = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{second:02d}" if hours else f"{minutes}:{second:02d}"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{_clock(seconds)} min"
