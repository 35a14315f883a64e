"""What a run found of its program: parameters before and after, and the picture that the program draws of them."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffrender.app.uncertainty import Deviations, Posterior, describe_deviation
from diffrender.errors import DataError
from diffrender.fit.loop import FitResult
from diffrender.fit.program import ROOT, innermost, written
from diffrender.scene.scene import Scene
from diffrender.setup.fit_setup import FitSetup
from diffrender.setup.parameters import ranges_of
from diffrender.writers.atomic import replacing

PLOT = "program.png"
DPI = 150


class ProgramRun(NamedTuple):
    """What the function `report` of a program's file is given: parameters by name, float64 tensors on the CPU.

    start, found: before and after the fit. true: those of the same names that the targets were made with; empty if that
        is not known. time: all times of the views, increasing; None if the program does not move anything.
    deviations: standard deviations of those that are learned, of their shapes, infinite where the pictures do not
        determine a number; empty if the method of the fit does not tell. covariance: [K, K] of all these numbers, one
        parameter after the other, whatever else is learned; None if it does not tell, or one is not determined.
    ranges: (lowest, highest) of the parameters that have one.
    """

    start: Mapping[str, Tensor]
    found: Mapping[str, Tensor]
    true: Mapping[str, Tensor]
    time: Tensor | None
    deviations: Mapping[str, Tensor] = MappingProxyType({})
    covariance: Tensor | None = None
    ranges: Mapping[str, tuple[float, float]] = MappingProxyType({})


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


def describe_program(setup: FitSetup, result: FitResult, deviations: Deviations) -> list[tuple[str, str]]:
    """Return the parameters in plain numbers, for the terminal: (name, words)."""
    run, units = program_run(setup, result), units_of(setup)
    rows = []
    for name, value in run.found.items():
        unit = f" {units[name]}" if name in units else ""
        true = f", truly {written(run.true[name])}" if name in run.true else ""
        words = f"{written(value)}{unit} (initially {written(run.start[name])}{true})"
        known = deviations.get(f"{ROOT}.{name}")
        rows.append((name, words if known is None else f"{words}; {describe_deviation(known)}"))
    return rows


def units_of(setup: FitSetup) -> dict[str, str]:
    """Return the units of parameters that have one, by name."""
    parameters = {} if setup.config.program is None else setup.config.program.parameters.by_name()
    return {name: each.unit for name, each in parameters.items() if each.unit is not None}


def draw_program(path: Path, setup: FitSetup, result: FitResult, posterior: Posterior | None = None) -> None:
    """Write the figure that the program's own `report` draws, if it has one.

    Raises DataError, with file and line, if that fails or returns no figure.
    """
    report = None if setup.program is None else setup.program.report
    if report is None:
        return
    try:
        with torch.no_grad():
            figure = report(_with_certainty(program_run(setup, result), setup, posterior))
    except Exception as error:
        file = Path(report.__code__.co_filename if hasattr(report, "__code__") else PLOT)
        place = innermost(file, traceback.extract_tb(error.__traceback__))
        at = "" if place is None else "{}, line {}: ".format(*place)
        raise DataError(f"{at}`report` of the program failed: {type(error).__name__}: {error}") from error
    if not hasattr(figure, "savefig"):
        raise DataError(f"`report` of the program must return a matplotlib Figure, got {type(figure).__name__}")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=DPI, format="png", facecolor="white")


def _with_certainty(run: ProgramRun, setup: FitSetup, posterior: Posterior | None) -> ProgramRun:
    """Return `run` with the ranges of its parameters, and with how certain they are."""
    run = run._replace(ranges={path.removeprefix(f"{ROOT}."): each for path, each in ranges_of(setup.config).items()})
    if posterior is None:
        return run
    paths = {name: f"{ROOT}.{name}" for name in run.found if f"{ROOT}.{name}" in posterior.parts}
    covariance = posterior.covariance_of(list(paths.values())) if paths else None
    return run._replace(
        deviations={name: posterior.deviations_of(path).cpu() for name, path in paths.items()},
        covariance=None if covariance is None else covariance.cpu(),
    )


def _parameters(scene: Scene) -> dict[str, Tensor]:
    return {name: value.detach().cpu().double() for name, value in scene.program.items()}
