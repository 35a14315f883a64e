"""Load programs of scene files, and make scenes follow from them. Here and nowhere else is their code imported."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import inspect
import math
import os
import sys
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import torch
from torch import Tensor

from diffrender.config.format_mistakes import most_similar
from diffrender.config.options.objects import ObjectOptions, PoseOptions, SceneParts
from diffrender.config.options.programs import AnnealedNumbers, ProgramOptions, ProgramParameters
from diffrender.config.scene_dependent_defaults import end_of_coarse_steps
from diffrender.config.schema import FitConfig
from diffrender.errors import ConfigError, ProgramError
from diffrender.fit.checkpointed_loop import checkpoints_every
from diffrender.fit.parametrizations.bounded import Bounded
from diffrender.fit.program import Parameter, Program, innermost, with_parameters
from diffrender.programs.bridges.imported import missing_package
from diffrender.programs.relaxed.anneal import Anneal
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene
from diffrender.setup.local_origin import ZERO, Origin, shift_positions
from diffrender.setup.program_files import check_imported, hash_of, make_importable, modules_of
from diffrender.setup.region import InitRegion
from diffrender.setup.scene import BuiltScene, build_scene

Parts = TypeVar("Parts", bound=SceneParts)
# What else a program's file may hold: a function that draws for the report, and ranges of parameters by name.
REPORT, RANGES = "report", "RANGES"


@dataclass(frozen=True)
class LoadedProgram:
    """The code of a program.

    options: with the ranges of its file. module: that file, imported. function: in it. dtype: PyTorch's default dtype
    in it, which it may have set; that of everything else stays what it is.
    """

    options: ProgramOptions
    module: ModuleType
    function: Callable[..., Any]
    dtype: torch.dtype = torch.float32

    @property
    def has_own_dtype(self) -> bool:
        """Whether its calls change PyTorch's default dtype: that of all threads."""
        return self.dtype != torch.get_default_dtype()

    @property
    def report(self) -> Callable[[Any], Any] | None:
        """The function `report` of the file, if it has one."""
        return getattr(self.module, REPORT, None)

    def parameters(self) -> dict[str, Parameter]:
        """Return the parameters with their starts and ranges."""
        return {name: Parameter(each.value, each.range) for name, each in self.options.parameters.by_name().items()}

    def annealed(self) -> dict[str, Anneal]:
        """Return the numbers that follow from the step. Where steps are not known, as for targets, the last counts."""
        numbers = self.options.anneal.by_name()
        return {name: Anneal(*each.values, each.until or 1) for name, each in numbers.items()}


def notes_of_starts(loaded: LoadedProgram | None, method: str) -> list[str]:
    """Return a note of parameters that start at an end of their range, if Adam is to lead them away from it."""
    parameters = {} if loaded is None or method != "adam" else loaded.parameters()
    at_ends = ", ".join(f"program.{name}" for name, each in parameters.items() if each.is_at_end())
    remedy = "start farther inside, widen the range, or set optimize.method: levenberg_marquardt"
    return [f"{at_ends}: at an end of the range, from which Adam's steps lead slowly; {remedy}"] if at_ends else []


def fill_anneal(options: ProgramOptions, steps: int) -> ProgramOptions:
    """Return the options of a program with the steps filled in until which its numbers are annealed."""
    until = end_of_coarse_steps(steps)
    filled = {
        name: {"values": each.values, "until": each.until or until} for name, each in options.anneal.by_name().items()
    }
    return options.model_copy(update={"anneal": AnnealedNumbers.model_validate(filled)})


def with_hashes(config: FitConfig) -> FitConfig:
    """Return `config` with the hashes of its programs' files. Raises ConfigError for a file of another hash."""
    synthetic = config.targets.synthetic
    if synthetic is not None and synthetic.program is not None:
        synthetic = _with_hash(synthetic, "targets.synthetic.program")
        config = config.model_copy(update={"targets": config.targets.model_copy(update={"synthetic": synthetic})})
    return config if config.program is None else _with_hash(config, "program")


def _with_hash(parts: Any, where: str) -> Any:
    options: ProgramOptions = parts.program
    found = hash_of(Path(options.file))
    if options.sha256 not in (None, found):
        modules = ", ".join(modules_of(Path(options.file)))
        raise ConfigError(
            f"{where}.sha256: {options.file}{f', or what it imports ({modules}),' if modules else ''} has changed: its"
            f" hash is {found}, and must be {options.sha256}; restore it, or remove `sha256` and start a new run"
        )
    return parts.model_copy(update={"program": options.model_copy(update={"sha256": found})})


def programs_of(config: FitConfig) -> list[dict[str, Any]]:
    """Return the programs that a fit ran, for its manifest: what for, file, function, hash, modules beside the file."""
    synthetic = config.targets.synthetic
    named = {"scene": config.program, "targets": None if synthetic is None else synthetic.program}
    return [
        {
            "of": of,
            "file": each.file,
            "function": each.function,
            "sha256": each.sha256,
            "modules": list(modules_of(Path(each.file))),
        }
        for of, each in named.items()
        if each is not None
    ]


def load_program(options: ProgramOptions, where: str = "program") -> LoadedProgram:
    """Import the file of a program. Raises ProgramError, with file and line, if that fails; ConfigError if it lacks it.

    where: its place in the scene file. The module has a private name, so that it cannot take the place of another. It
    may import modules from its folder.
    """
    file = Path(options.file)
    name = f"_diffrender_program_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{where}.file: {file} must be a Python file, with the suffix .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for their module
    make_importable(file)
    folder, dtype = os.getcwd(), torch.get_default_dtype()
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _import_error(file, error) from error
    finally:
        own_dtype = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        os.chdir(folder)
    check_imported(file)
    function = getattr(module, options.function, None)
    if not callable(function):
        known = [key for key, each in vars(module).items() if callable(each) and not key.startswith("_")]
        has = f"it has {', '.join(known)}" if known else "it has none"
        raise ConfigError(f"{where}.function: {file} has no function `{options.function}`; {has}")
    ranges = getattr(module, RANGES, {})
    if not isinstance(ranges, Mapping):
        raise ConfigError(f"{options.file}: {RANGES} must be a dict of ranges by parameter, got {ranges!r}")
    _check_names_of_ranges(options, list(map(str, ranges)), function)
    return LoadedProgram(_with_ranges(options, ranges), module, function, own_dtype)


def load_scene_program(config: FitConfig) -> LoadedProgram | None:
    """Return the program of a scene that is fitted, its options filled in."""
    return None if config.program is None else load_program(fill_anneal(config.program, config.optimize.steps))


def _check_names_of_ranges(options: ProgramOptions, names: Sequence[str], function: Callable[..., Any]) -> None:
    """Raise ConfigError for a range of what is no argument or, if the function takes any, hardly differs from one."""
    arguments = inspect.signature(function).parameters
    takes_any = any(each.kind is each.VAR_KEYWORD for each in arguments.values())
    named = {name for name, each in arguments.items() if each.kind is not each.VAR_KEYWORD}
    known = {*options.parameters.by_name(), *named}
    for name in (name for name in names if name not in known):
        near = most_similar(name, known - set(names))
        if near is not None or not takes_any:
            raise ConfigError(
                f"{options.file}: {RANGES} has `{name}`, which is no parameter of `{options.function}`; rename or"
                f" remove it{f' (did you mean `{near}`?)' if near else ''}"
            )


def _with_ranges(options: ProgramOptions, ranges: Mapping[str, Sequence[float]]) -> ProgramOptions:
    """Return `options` with the ranges that the program's file knows, of parameters that have none of their own.

    Raises ConfigError for a range that is not two numbers, the lower one first, and for a value outside it.
    """
    written, found = options.parameters.by_name(), {}
    for name, each in written.items():
        if each.range is not None or name not in ranges:
            continue
        try:
            low, high = map(float, ranges[name])
            if (low, high) == (-math.inf, math.inf):  # as of a joint that turns without end
                continue
            Bounded(low, high)
        except (TypeError, ValueError, ConfigError):
            raise ConfigError(
                f"{options.file}: {RANGES}[{name!r}] must be two finite numbers, the lower one first, got"
                f" {ranges[name]!r}"
            ) from None
        values = each.value if isinstance(each.value, tuple) else (each.value,)
        outside = [value for value in values if not low <= value <= high]
        if outside:
            raise ConfigError(
                f"program.parameters.{name}: the value {outside[0]:g} is not in the range {low:g} to {high:g} of"
                f" {RANGES} in {options.file}; change one of the two"
            )
        found[name] = each.model_copy(update={"range": (low, high)})
    return options.model_copy(update={"parameters": ProgramParameters(**{**written, **found})}) if found else options


def _import_error(file: Path, error: BaseException) -> ProgramError:
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) and error.filename:
        frames.append(traceback.FrameSummary(error.filename, error.lineno, "", lookup_line=False))
    found = innermost(file, frames)
    place = str(file) if found is None else "{}, line {}".format(*found)
    what = missing_package(error) or f"the program cannot be imported: {type(error).__name__}: {error}"
    return ProgramError(f"{place}: {what}")


def times_of(*cameras: Cameras | None) -> Tensor | None:
    """Return the times of all views, increasing, each once: [K] float64; None if some are not known."""
    times = [each.time for each in cameras if each is not None]
    if not times or any(each is None for each in times):
        return None
    return torch.cat([each for each in times if each is not None]).unique()


def bind_program(loaded: LoadedProgram, times: Tensor | None, origin: Origin = ZERO) -> Program:
    """Return the program of these times. Raises ConfigError if its function does not suit its parameters."""
    function = loaded.function
    every = loaded.options.checkpoint_every

    @functools.wraps(function)
    def run(**arguments: Any) -> Any:
        dtype = torch.get_default_dtype()
        torch.set_default_dtype(loaded.dtype)
        try:
            with checkpoints_every(every):
                return function(**arguments)
        finally:
            torch.set_default_dtype(dtype)

    program = Program(run, times, origin, loaded.annealed())
    program.check_names(list(loaded.parameters()))
    return program


def follow_program(
    built: BuiltScene[Parts],
    parts: Parts | None,
    place: InitRegion,
    loaded: LoadedProgram | None,
    program: Program | None,
    origin: Origin,
) -> BuiltScene[Parts]:
    """Return a scene as it follows from its program; a scene from a run keeps the parameters that it has.

    parts: the options that it was built from, in `place` but for its doubt. It is built again if the program puts
    objects in a place that have no pose: meshes of objects with a pose are about their origins; and if the place is
    doubtful, which does not matter to these. None: it is left as it is.
    origin: the point of the world that is the origin of `parts`.
    """
    if loaded is None or program is None:
        return built._replace(scene=replace(built.scene, program={}))
    scene = _started(built.scene, loaded, program)
    posed = None if parts is None else _with_poses(parts, built.names, program.placed, origin)
    if parts is None or (posed is None and place.doubt is None):
        return built._replace(scene=scene)
    again = build_scene(posed or parts, place)
    scene, notes = _started(again.scene, loaded, program), list(dict.fromkeys(built.notes + again.notes))
    return again._replace(scene=scene, notes=notes)


def _started(scene: Scene, loaded: LoadedProgram, program: Program) -> Scene:
    start = with_parameters(scene, loaded.parameters())
    found = {name: scene.program.get(name, value) for name, value in start.program.items()}
    return program.start(replace(start, program=found))


def _with_poses(parts: Parts, names: Mapping[str, Sequence[str]], placed: Set[str], origin: Origin) -> Parts | None:
    """Return `parts` with a pose of all objects with parts (`names`) that are placed; None if all have one."""

    def with_pose(item: ObjectOptions) -> ObjectOptions:
        is_placed = item.pose is None and not placed.isdisjoint(names[item.name])
        return item.model_copy(update={"pose": PoseOptions()}) if is_placed else item

    x, y, z = origin
    parts = shift_positions(parts, origin)  # without a pose, it is the mesh that is shifted
    items = [with_pose(item) for item in parts.all_objects()]
    if items == list(parts.all_objects()):
        return None
    posed = parts.model_copy(update={"pose": items[0].pose} if parts.objects is None else {"objects": items})
    return shift_positions(posed, (-x, -y, -z))


def check_apart(program: Program | None, learned: Collection[str]) -> None:
    """Raise ConfigError if the program sets a value that is learned by itself."""
    both = [] if program is None else sorted(program.paths & set(learned))
    if both:
        raise ConfigError(
            f"optimize.{both[0]}: the program sets this value, so it cannot be learned by itself; remove it, or make it"
            " a parameter of the program"
        )
