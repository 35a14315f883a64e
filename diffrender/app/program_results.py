"""What a run found of its program: parameters before and after, and the picture that the program draws of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffrender.errors import DataError
from diffrender.fit.loop import FitResult
from diffrender.fit.program import written
from diffrender.scene.scene import Scene
from diffrender.setup.fit_setup import FitSetup
from diffrender.writers.atomic import replacing

PLOT = "program.png"
DPI = 150


class ProgramRun(NamedTuple):
    """What the function `report` of a program's file is given: parameters by name, float64 tensors on the CPU.

    start, found: before and after the fit. true: those of the same names that the targets were made with; empty if that
    is not known. time: all times of the views, increasing; None if the program does not move anything.
    """

    start: Mapping[str, Tensor]
    found: Mapping[str, Tensor]
    true: Mapping[str, Tensor]
    time: Tensor | None


def program_run(setup: FitSetup, result: FitResult) -> ProgramRun:
    """Return what became of the parameters of the run's program."""
    start, found = _parameters(setup.scene), _parameters(result.scene)
    of_target = {} if setup.target_scene is None else _parameters(setup.target_scene)
    true = {name: of_target[name] for name in found if name in of_target}
    motion = result.scene.motion
    return ProgramRun(start, found, true, None if motion is None else motion.times.cpu())


def program_json(setup: FitSetup, result: FitResult) -> dict[str, Any]:
    """Return the entry `program` of metrics.json: start, found, true and unit of each parameter; {} without any."""
    run = program_run(setup, result)
    units = units_of(setup)
    rows = {
        name: {
            "start": run.start[name].tolist(),
            "found": value.tolist(),
            **({"true": run.true[name].tolist()} if name in run.true else {}),
            **({"unit": units[name]} if name in units else {}),
        }
        for name, value in run.found.items()
    }
    return {"program": rows} if rows else {}


def describe_program(setup: FitSetup, result: FitResult) -> list[tuple[str, str]]:
    """Return the parameters in plain numbers, for the terminal: (name, words)."""
    run, units = program_run(setup, result), units_of(setup)
    rows = []
    for name, value in run.found.items():
        unit = f" {units[name]}" if name in units else ""
        true = f", truly {written(run.true[name])}" if name in run.true else ""
        rows.append((name, f"{written(value)}{unit} (initially {written(run.start[name])}{true})"))
    return rows


def units_of(setup: FitSetup) -> dict[str, str]:
    """Return the units of parameters that have one, by name."""
    parameters = {} if setup.config.program is None else setup.config.program.parameters.by_name()
    return {name: each.unit for name, each in parameters.items() if each.unit is not None}


def draw_program(path: Path, setup: FitSetup, result: FitResult) -> None:
    """Write the figure that the program's own `report` draws, if it has one. Raises whatever that raises."""
    report = None if setup.program is None else setup.program.report
    if report is None:
        return
    with torch.no_grad():
        figure = report(program_run(setup, result))
    if not hasattr(figure, "savefig"):
        raise DataError(f"`report` of the program must return a matplotlib Figure, got {type(figure).__name__}")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=DPI, format="png", facecolor="white")


def _parameters(scene: Scene) -> dict[str, Tensor]:
    return {name: value.detach().cpu().double() for name, value in scene.program.items()}
