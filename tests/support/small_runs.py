"""Whole runs of small scene files, as `diffrender fit` makes them."""

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
    """Write `text` as small.yaml in `folder`, and fit it; return the result and what the terminal showed."""
    scene = folder / "small.yaml"
    scene.write_text(text)
    shown = io.StringIO()
    console = Console(file=shown, width=120)
    result = run_fit(load_config(scene, overrides), "small", scene, folder / "out", console, resume)
    return result, shown.getvalue()


def raise_after(monkeypatch: pytest.MonkeyPatch, step: int, error: type[BaseException] = KeyboardInterrupt) -> None:
    """Let the next run meet `error` when `step` is done, once."""
    plain = Recorder.on_step

    def on_step(self: Recorder, record: StepRecord, model) -> None:
        plain(self, record, model)
        if record.step == step:
            monkeypatch.setattr(Recorder, "on_step", plain)
            raise error

    monkeypatch.setattr(Recorder, "on_step", on_step)
