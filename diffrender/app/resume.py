"""Runs that were begun earlier: their folder, their scene file, and the steps that are written down."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffrender.config.resolved import differences
from diffrender.config.schema import FitConfig
from diffrender.errors import ConfigError, DataError
from diffrender.writers.run.run_folder import RunFolder

RESOLVED = "scene.resolved.yaml"
METRICS_LOG = "metrics.jsonl"
CHECKPOINT = "last.pt"
# What may be another when a fit goes on: its length, where it is computed and which meshes are written.
MAY_DIFFER = ("optimize.steps", "device", "export")
MOST_NAMED = 6


def find_run(path: Path) -> RunFolder:
    """The run's folder at `path`, which may be the link `latest` to it. Raises DataError where no run was written."""
    folder = Path(path)
    if folder.is_file():
        # Where links are not allowed, `latest` is a text file that holds the folder's name.
        folder = folder.with_name(folder.read_text(encoding="utf-8", errors="replace").strip())
    folder = folder.resolve()
    if not folder.is_dir():
        raise DataError(f"{path}: there is no such folder; give that of a run, as outputs/<scene>/latest")
    if not (folder / RESOLVED).is_file():
        raise DataError(f"{path}: is not the folder of a run, it has no {RESOLVED}; runs are outputs/<scene>/<time>")
    return RunFolder(folder)


def scene_name(folder: RunFolder) -> str:
    """The name of the scene that was fitted: runs lie in a folder that is called so."""
    return folder.path.parent.name or "scene"


def find_checkpoint(folder: RunFolder) -> Path:
    """The run's last checkpoint. Raises DataError where it has none."""
    path = folder.path / "checkpoints" / CHECKPOINT
    if not path.is_file():
        raise DataError(
            f"{path} does not exist: the run ended before its first checkpoint, which are written with the progress"
            " pictures (progress.pictures), and at the end; start it anew"
        )
    return path


def check_same_scene(folder: RunFolder, run: FitConfig, now: FitConfig) -> None:
    """Raise ConfigError where the filled-in `now` is another scene than that of the run; some keys may differ."""
    found = [(key, there, here) for key, there, here in differences(run, now) if not _may_differ(key)]
    if not found:
        return
    shown = [
        f"{key} is {_format_value(there)} there and {_format_value(here)} here"
        for key, there, here in found[:MOST_NAMED]
    ]
    more = f"; and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    raise ConfigError(
        f"{folder.path} was fitted to another scene: {'; '.join(shown)}{more}. Leave the scene file out to go on with"
        " the run's own, or start a new run"
    )


def check_unfinished(folder: RunFolder, steps_done: int, steps: int) -> None:
    """Raise ConfigError where nothing is left to do."""
    if steps_done >= steps:
        raise ConfigError(
            f"{folder.path}: {steps_done} steps are done and {steps} are wanted, so there is nothing left to do;"
            f" --steps {max(steps_done, steps) * 2} goes on"
        )


def read_metric_rows(folder: RunFolder, steps_done: int) -> list[dict[str, Any]]:
    """The first `steps_done` rows of metrics.jsonl; a run that was killed has written more than its checkpoint has.

    Raises DataError where one of them is missing or damaged.
    """
    path = folder.path / METRICS_LOG
    try:
        lines = path.read_text(encoding="utf-8").splitlines()[:steps_done]
        rows: list[dict[str, Any]] = [_with_nan(json.loads(line)) for line in lines]
        steps = [row["step"] for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); start the run anew") from error
    if steps != list(range(steps_done)):
        raise DataError(f"{path}: has not one line for each of the {steps_done} steps done; start the run anew")
    return rows


def _with_nan(row: Any) -> Any:
    """JSON's null as NaN, which it stands for."""
    if isinstance(row, Mapping):
        return {key: _with_nan(value) for key, value in row.items()}
    return math.nan if row is None else row


def _may_differ(key: str) -> bool:
    return any(key == each or key.startswith(f"{each}.") for each in MAY_DIFFER)


def _format_value(value: Any) -> str:
    return "left out" if value is None else str(value)
