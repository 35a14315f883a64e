"""How a run was made: its command, versions and machine, so that it can be explained and repeated."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from diffrender.threads import kernel_threads
from diffrender.writers.run.metrics import write_json

PACKAGES = ("diffrender", "torch", "numpy", "numba", "scipy", "cholespy", "trimesh", "pillow")


def write_manifest(
    path: Path,
    *,
    command: Sequence[str],
    scene_file: Path | None,
    device: torch.device | str,
    backends: Mapping[str, str],
    seed: int,
    stop_reason: str,
    message: str | None,
    steps_done: int,
    seconds: float,
    started: datetime,
    first_step: int = 0,
    notes: Sequence[str] = (),
    programs: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write manifest.json.

    command: the command line, as sys.argv.
    scene_file: the scene file, or None if the scene was built in Python.
    device: that of the fit.
    backends: the implementation used, by op.
    stop_reason: "finished", "interrupted", "non_finite", "diverged" or "program"; message: its explanation, or None.
    seconds: wall time of the whole run.
    started: local time at which the run began or was resumed.
    programs: the code that scene files named, with its hashes and the modules beside it that it imports.
    first_step: steps that were done then. notes: what readers changed, or did not read, of the files.

    Raises DataError if the file cannot be written.
    """
    write_json(
        path,
        {
            "command": list(command),
            "scene_file": scene_file,
            "started": started.isoformat(timespec="seconds"),
            "first_step": first_step,
            "seconds": round(seconds, 3),
            "stop_reason": stop_reason,
            "message": message,
            "steps_done": steps_done,
            "seed": seed,
            "notes": list(notes),
            "programs": [dict(program) for program in programs],
            "device": describe_device(device),
            "backends": dict(backends),
            "versions": installed_versions(),
            "platform": {
                "system": platform.platform(),
                "machine": platform.machine(),
                "cores": os.cpu_count(),
                "kernel_threads": kernel_threads(),
            },
        },
    )


def describe_device(device: torch.device | str) -> str:
    """Return `cpu`, or a GPU with its name: `cuda:0 (NVIDIA H200)`."""
    device = torch.device(device)
    if device.type != "cuda":
        return str(device)
    return f"{device} ({torch.cuda.get_device_name(device)})"


def installed_versions() -> dict[str, str | None]:
    """Return the versions of Python and of each package that can change a result; None if it is not installed."""
    return {"python": platform.python_version()} | {package: _version(package) for package in PACKAGES}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
