"""Find an earlier run and check that it can be resumed: folder, scene file, checkpoint, metrics."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffrender.config.resolved import differences
from diffrender.config.schema import FitConfig
from diffrender.errors import ConfigError, DataError
from diffrender.writers.run.run_folder import RunFolder, follow_latest

RESOLVED = "scene.resolved.yaml"
METRICS_LOG = "metrics.jsonl"
CHECKPOINT = "last.pt"
# Options that may differ in a resumed run: number of steps, device, formats of meshes.
MAY_DIFFER = ("optimize.steps", "device", "export")
MOST_NAMED = 6


def find_run(path: Path) -> RunFolder:
    """Return the run folder at `path`, which may be the link `latest`. Raises DataError if there is no run."""
    folder = Path(os.path.realpath(follow_latest(Path(path))))
    if not folder.is_dir():
        raise DataError(f"{path}: no such folder; give the folder of a run, such as outputs/<scene>/latest")
    if not (folder / RESOLVED).is_file():
        raise DataError(
            f"{path}: not the folder of a run, it has no {RESOLVED}; give a folder such as outputs/<scene>/latest"
        )
    return RunFolder(folder)


def scene_name(folder: RunFolder) -> str:
    """Return the name of the fitted scene: the name of the folder around its runs."""
    return folder.path.parent.name or "scene"


def find_checkpoint(folder: RunFolder) -> Path:
    """Return the path of the run's last checkpoint. Raises DataError if there is none."""
    path = folder.path / "checkpoints" / CHECKPOINT
    if not path.is_file():
        raise DataError(
            f"{path} does not exist: the run ended before its first checkpoint. Checkpoints are written with progress"
            " pictures (progress.pictures) and at the end; start a new run"
        )
    return path


def check_same_scene(folder: RunFolder, run: FitConfig, now: FitConfig, is_own: bool) -> None:
    """Raise ConfigError if the filled-in `now` differs from the scene of `run` in more than MAY_DIFFER.

    is_own: whether `now` is from the run's own scene file, and so differs by options of the command.
    """
    changed = [(key, before, after) for key, before, after in differences(run, now) if not _may_differ(key)]
    if not changed:
        return
    shown = [
        f"{key} was {_format_value(before)} and is now {_format_value(after)}"
        for key, before, after in changed[:MOST_NAMED]
    ]
    more = f"; and {len(changed) - MOST_NAMED} more" if len(changed) > MOST_NAMED else ""
    raise ConfigError(
        f"{folder.path} is a run of another scene: {'; '.join(shown)}{more}. Omit"
        f" {'the options that change it' if is_own else 'the scene file'} to resume the run with its own, or start a"
        " new run"
    )


def check_unfinished(folder: RunFolder, steps_done: int, steps: int) -> None:
    """Raise ConfigError if no steps are left to do."""
    if steps_done > steps:
        raise ConfigError(
            f"{folder.path}: the run has done {steps_done} steps, more than the {steps} it is to have in all; --steps"
            f" counts from its beginning: continue with --steps {steps_done + steps} for {steps} more, or start a new"
            " run for fewer"
        )
    if steps_done == steps:
        raise ConfigError(
            f"{folder.path}: {steps_done} of {steps} steps are done, so there is nothing left to do;"
            f" continue with --steps {steps * 2}"
        )


def read_metric_rows(folder: RunFolder, steps_done: int) -> list[dict[str, Any]]:
    """Read the first `steps_done` rows of metrics.jsonl, which may have more if the run was killed after a checkpoint.

    Raises DataError if a row is missing or damaged.
    """
    path = folder.path / METRICS_LOG
    try:
        lines = path.read_text(encoding="utf-8").splitlines()[:steps_done]
        rows: list[dict[str, Any]] = [_with_nan(json.loads(line)) for line in lines]
        steps = [row["step"] for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); start a new run") from error
    if steps != list(range(steps_done)):
        raise DataError(f"{path}: does not hold one line per completed step ({steps_done}); start a new run")
    return rows


def _with_nan(row: Any) -> Any:
    """Return `row` with NaN for JSON's null, as it was before writing."""
    if isinstance(row, Mapping):
        return {key: _with_nan(value) for key, value in row.items()}
    return math.nan if row is None else row


def _may_differ(key: str) -> bool:
    return any(key == option or key.startswith(f"{option}.") for option in MAY_DIFFER)


def _format_value(value: Any) -> str:
    return "omitted" if value is None else str(value)
