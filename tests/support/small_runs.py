"""Complete runs of small scene files, like those of `diffrender fit`."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from diffrender.app.run import RunResult, run_fit
from diffrender.app.run_recorder import Recorder
from diffrender.config.load import load_config
from diffrender.config.overrides import Override
from diffrender.fit.step import StepRecord


def run_small(text: str, folder: Path, *overrides: str | Override, resume: Path | None = None) -> tuple[RunResult, str]:
    """Write `text` to small.yaml in `folder` and fit it; return the result and the terminal output."""
    scene = folder / "small.yaml"
    scene.write_text(text)
    shown = io.StringIO()
    console = Console(file=shown, width=120)
    result = run_fit(load_config(scene, overrides), "small", scene, folder / "out", console, resume)
    return result, shown.getvalue()


def raise_after(monkeypatch: pytest.MonkeyPatch, step: int, error: type[BaseException] = KeyboardInterrupt) -> None:
    """Raise `error` once, after `step` of the next run."""
    plain = Recorder.on_step

    def on_step(self: Recorder, record: StepRecord, model) -> None:
        plain(self, record, model)
        if record.step == step:
            monkeypatch.setattr(Recorder, "on_step", plain)
            raise error

    monkeypatch.setattr(Recorder, "on_step", on_step)
