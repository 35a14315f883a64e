"""Program: a function whose results are values of a scene, so that what is learned are its parameters."""

from __future__ import annotations

import inspect
import os
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from diffrender.derivatives import has_derivative, tensors_within
from diffrender.errors import ConfigError, ProgramError, ShapeError
from diffrender.fit.parametrization import Parametrization
from diffrender.fit.parametrizations.bounded import Bounded
from diffrender.fit.parametrizations.identity import Identity
from diffrender.geometry.rigid import RENDERED_TOLERANCE, check_rigid, make_rigid
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.programs.bridges.imported import missing_package
from diffrender.programs.relaxed.anneal import Anneal
from diffrender.scene.motion import Motion
from diffrender.scene.parameter_paths import ParameterPath, kind_in, resolve_path, scene_values, with_values
from diffrender.scene.quantity_kinds import POSITION, kinds_of
from diffrender.scene.scene import Scene

TIME = "time"
ROOT = "program"
# What parts of PyTorch's messages mean.
_MEANINGS = {
    "must override the setup_context": "a function in it has no forward mode (adaptive solvers of torchdiffeq have"
    " none), which levenberg_marquardt needs; take another solver, or `optimize.method: adam`",
    "randomness error mode": "it draws random numbers; draw them once, where the file is imported",
    **dict.fromkeys(
        ["does not require grad and does not have a grad_fn", "attempting to call Tensor.requires_grad_()"],
        "torch.autograd.grad finds no gradients here; torch.func.grad does, of a function, in every method",
    ),
}
# What others call the times.
LIKE_TIME = {"t", "ts", "times", "timestamp", "timestamps"}
# What two calls may differ by, of values and of 1: sums in another order, in float32.
SAME = 1e-4
# Folders of what others wrote, as in an environment beside the program.
OTHERS = {"site-packages", "dist-packages", "diffrender"}
PYTHON = Path(sysconfig.get_paths()["stdlib"]).resolve()
# Parts of an object's pose that a program may set in place of the whole: shapes of one time.
PLACEMENT = {"position": (3,), "rotation": (3,)}
# The parametrisations of values that are nowhere negative.
AT_LEAST_0 = {"unit_interval", "positive"}
POSE_FIELD = "pose"

Values: TypeAlias = Mapping[str, Any]
Function: TypeAlias = Callable[..., Values | Scene]


@dataclass(frozen=True)
class Parameter:
    """A parameter of a program.

    value: its start, a number or numbers. range: (low, high) that it stays between; None: any number.
    """

    value: float | Sequence[float] | Tensor
    range: tuple[float, float] | None = None

    def tensor(self) -> Tensor:
        """Return the start in float64. Raises ShapeError if it is not made of numbers."""
        try:
            return torch.as_tensor(self.value, dtype=torch.float64).detach().clone()
        except (TypeError, ValueError) as error:
            raise ShapeError(f"a parameter's start must be a number or numbers, got {self.value!r}") from error

    def is_at_end(self) -> bool:
        """Return whether a number starts at an end of its range."""
        return self.range is not None and bool(Bounded(*map(float, self.range)).is_at_end(self.tensor()).any())

    def parametrization(self) -> Parametrization:
        """Return what keeps it in its range."""
        return Identity() if self.range is None else Bounded(*map(float, self.range))


class Program:
    """Makes values of a scene follow from the parameters in `scene.program`: any code in PyTorch, also with loops.

    function: is called with the parameters by name, float64 tensors, and, if it has an argument `time`, with all
        times at once. It returns values by path (scene.parameter_paths): `objects.bob.mesh.vertices`,
        `lights.lamp.radiance`; and `objects.bob.position` [3] in the world or `objects.bob.rotation` [3], a rotation
        vector in radians, in place of a whole `pose`. A value has the shape that it has in the scene, or one row per
        time before that. Or it returns a whole Scene, with a `motion` if it moves.
    times: [K] float64, increasing, in seconds; None if no times are known.
    origin: the point of the program's world that is the origin of the scene.
    anneal: numbers that the function also takes, by name, and that follow from the step of a fit alone: temperatures.

    Calling it returns a scene. Raises ConfigError if the function needs times and there are none; ProgramError, with
    file, line and parameters, if the function fails or what it returns has no place in the scene, is not finite, or
    has lost the derivative of all parameters. The function may change its arguments in place: they are copies.

    paths: the canonical paths of the values that it set in its last call; none if it made a whole scene.
    placed: the objects whose position it set then.
    """

    def __init__(
        self,
        function: Function,
        times: Tensor | None = None,
        origin: Sequence[float] = (0.0, 0.0, 0.0),
        anneal: Mapping[str, Anneal] | None = None,
    ) -> None:
        self._function, self._times, self._origin = function, times, tuple(origin)
        self._anneal = dict(anneal or {})
        self.paths: Set[str] = frozenset()
        self.placed: Set[str] = frozenset()
        called = function.forward if isinstance(function, torch.nn.Module) else function
        self._signature = inspect.signature(called)
        self.takes_time = TIME in self._signature.parameters
        if self.takes_time and times is None:
            raise ConfigError(
                f"{self._place()}: `{self.name}` asks for the time of each view, which not all have: give targets.fps,"
                " or a `time` in seconds to each frame of transforms.json (in Python: cameras.time)"
            )

    @property
    def name(self) -> str:
        """The name of the function."""
        return getattr(self._function, "__name__", type(self._function).__name__)

    @property
    def until(self) -> int:
        """The first step from which on all that is annealed stays as it is."""
        return max([each.until for each in self._anneal.values()], default=0)

    def check_names(self, names: Sequence[str]) -> None:
        """Raise ConfigError unless the function takes these names and what is annealed, and needs nothing else."""
        taken = self._signature.parameters
        takes_any = any(each.kind is each.VAR_KEYWORD for each in taken.values())
        of_function = f"`{self.name}{self._signature}` in {self._place()}"
        places = dict.fromkeys(self._anneal, "anneal") | dict.fromkeys(names, "parameters")
        for name in names:
            if name in self._anneal or name == TIME:
                what = "annealed" if name in self._anneal else "the times of the views"
                raise ConfigError(f"program.parameters.{name}: `{name}` is {what}; rename one of both")
        for name, place in places.items():
            if name not in taken and not takes_any:
                raise ConfigError(f"program.{place}.{name}: {of_function} has no argument `{name}`; rename one of both")
        for name, each in taken.items():
            is_needed = each.default is each.empty and each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
            if is_needed and name != TIME and name not in places:
                times = "; if it is the times of the views, call it `time`" if name.lower() in LIKE_TIME else ""
                raise ConfigError(
                    f"program.parameters: {of_function} needs `{name}`; give its value, as in {name}: {{value: 1}}"
                    + times
                )

    def __call__(self, scene: Scene, step: int | None = None) -> Scene:
        """Return `scene` as it follows from its parameters; differentiable in them.

        step: of a fit, counted from 0, whose annealed numbers are taken; None: their last.
        """
        scene = replace(scene, motion=None)
        called = self._called(scene, step)
        found = self._run(called.program)
        if isinstance(found, Scene):
            self._check_derivative(called, tensors_within(found))
            self.paths = self.placed = frozenset()
            return replace(found, program=scene.program)
        if not isinstance(found, Mapping):
            raise self._error(called, f"must return values by path or a Scene, got {type(found).__name__}")
        placed = self._placed(called, found)
        self._check_derivative(called, [value for value, _ in placed.values()])
        self.paths = placed.keys()
        still = {path: value for path, (value, moves) in placed.items() if not moves}
        moving = {path: value for path, (value, moves) in placed.items() if moves}
        first = {path: value[0] for path, value in moving.items()}
        try:
            now = with_values(scene, still | first)
        except ShapeError as error:
            raise self._error(called, f"returned what is no value there: {error}") from None
        if not moving:
            return now
        assert self._times is not None
        return replace(now, motion=Motion(self._times.to(scene.background.device), moving))

    @torch.no_grad()
    def start(self, scene: Scene) -> Scene:
        """Return `scene` as it follows.

        Raises ProgramError if the function returns another thing when called again, or a negative colour or the like.
        """
        first, again = (self(scene) for _ in range(2))
        values, others = (
            {**scene_values(each), **(each.motion.values if each.motion else {})} for each in (first, again)
        )
        for path in self.paths:
            low = float(values[path].min()) if kind_in(scene, path).parametrization in AT_LEAST_0 else 0.0
            if low < 0:
                raise self._error(scene, f"returned {low:.6g} for {path}, which must be at least 0")
        for path, value in values.items():
            other = others.get(path)
            is_there = other is not None and other.shape == value.shape
            if not is_there or not torch.allclose(value, other, rtol=SAME, atol=SAME, equal_nan=True):
                raise self._error(
                    scene,
                    f"returned another {path} when it was called again; draw random numbers once, where the file is"
                    " imported, and keep nothing from one call to the next",
                )
        return first

    def _check_derivative(self, scene: Scene, values: Iterable[Tensor]) -> None:
        """Raise ProgramError if a derivative is asked for, and nothing that the function returned has one."""
        if not torch.is_grad_enabled() or not any(map(has_derivative, scene.program.values())):
            return
        if not any(map(has_derivative, values)):
            raise self._error(
                scene,
                "returned nothing that has a derivative by its parameters; make it of them by PyTorch's functions:"
                " .detach(), .item(), .numpy(), float() and torch.tensor() leave it behind",
            )

    def _called(self, scene: Scene, step: int | None) -> Scene:
        """Return `scene` with all numbers that the function is called with, the annealed ones of `step` included."""
        like = scene.background.new_empty((), dtype=torch.float64)
        annealed = {name: torch.full_like(like, each.at(step)) for name, each in self._anneal.items()}
        return replace(scene, program={**scene.program, **annealed})

    def _run(self, parameters: Mapping[str, Tensor]) -> Values | Scene:
        times: dict[str, Tensor] = {}
        if self.takes_time:
            assert self._times is not None
            like = next(iter(parameters.values()), self._times)
            times[TIME] = self._times.to(like.device)
        try:
            return self._function(**{name: value.clone() for name, value in {**parameters, **times}.items()})
        except (Exception, SystemExit) as error:
            meanings = [meaning for part, meaning in _MEANINGS.items() if part in str(error)]
            what = missing_package(error) or (meanings[0] if meanings else f"{type(error).__name__}: {error}")
            raise ProgramError(f"{self._place(error)}: {self.name}({_written(parameters)}) failed: {what}") from error

    def _placed(self, scene: Scene, found: Values) -> dict[str, tuple[Tensor, bool]]:
        """Return the values by canonical path, each with whether it has a row per time."""
        now = {path: value for path, value in scene_values(scene).items() if not path.startswith(f"{ROOT}.")}
        placed: dict[str, tuple[Tensor, bool]] = {}
        at: set[str] = set()
        poses: dict[str, dict[str, tuple[Tensor, bool]]] = {}
        for path, value in found.items():
            full, part = self._resolve(scene, str(path))
            shape = PLACEMENT[part] if part else tuple(now[full].shape)
            tensor, moves = self._tensor(scene, str(path), value, shape, now[full])
            if part:
                poses.setdefault(full, {})[part] = self._in_scene(scene, full, part, tensor), moves
            elif full in placed:
                raise self._error(scene, f"returned {full} twice, in full and in its short form; keep one of them")
            else:
                field = ParameterPath.parse(full).field
                if field == POSE_FIELD:
                    self._check_rigid(scene, str(path), tensor)
                    at.add(full)
                placed[full] = self._in_scene(scene, full, field, tensor).to(now[full]), moves
        for full, parts in poses.items():
            if full in placed:
                raise self._error(scene, f"returned {full} and its {' and '.join(parts)}; keep one of them")
            rotation, turns = parts.get("rotation", (None, False))
            at |= {full} if "position" in parts else set()
            position, shifts = parts.get("position", (now[full][:3, 3], False))
            matrix = now[full][:3, :3] if rotation is None else axis_angle_to_matrix(rotation)
            placed[full] = make_rigid(matrix.double(), position.double()).to(now[full]), turns or shifts
        self.placed = {ParameterPath.parse(full).name for full in at}
        return placed

    def _resolve(self, scene: Scene, path: str) -> tuple[str, str]:
        """Return the canonical path of a value, and which part of a pose it is, or ""."""
        owner, _, field = path.rpartition(".")
        pose = f"{owner}.pose" if owner else "pose"
        try:
            if field in PLACEMENT and not path.startswith("lights."):
                return resolve_path(scene, pose), field
            full = resolve_path(scene, path)
        except ConfigError:
            known = [each for each in scene_values(scene) if not each.startswith(f"{ROOT}.")]
            known += [f"objects.{name}.{part}" for name in scene.objects for part in PLACEMENT]
            near = get_close_matches(path, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            if path.startswith("cameras"):
                hint = "; cameras do not follow from programs: move the objects, or learn the cameras by themselves"
            raise self._error(
                scene, f"returned {path}, which is no value of the scene{hint}\n  it has: {', '.join(known)}"
            ) from None
        if full.startswith(f"{ROOT}."):
            raise self._error(scene, f"returned {path}, which is a parameter of its own")
        return full, ""

    def _tensor(self, scene: Scene, path: str, value: Any, shape: tuple[int, ...], like: Tensor) -> tuple[Tensor, bool]:
        """Return a value in float64, on the device of `like`, and whether it has a row per time."""
        if isinstance(value, list | tuple) and any(isinstance(each, Tensor) for each in value):
            # Made a tensor, they would silently lose their gradients.
            raise self._error(scene, f"returned a list of tensors for {path}; join them by torch.stack")
        try:
            tensor = torch.as_tensor(value).to(like.device, torch.float64)
        except (TypeError, ValueError, RuntimeError) as error:
            raise self._error(scene, f"returned {type(value).__name__} for {path}, not a tensor ({error})") from None
        n_times = None if self._times is None else len(self._times)
        moves = self.takes_time and tuple(tensor.shape) == (n_times, *shape)
        if not moves and tuple(tensor.shape) != shape:
            is_row_each = tuple(tensor.shape) == (n_times, *shape)
            per_time = f", or {[n_times, *shape]} with one row per time" if self.takes_time or is_row_each else ""
            per_time += ", which needs an argument `time`" if is_row_each else ""
            message = f"returned {path} of shape {list(tensor.shape)}; it must be {list(shape)}{per_time}"
            raise self._error(scene, message)
        is_finite = torch.isfinite(tensor.detach().to(like.dtype))
        if not bool(is_finite.all()):
            when = ""
            if moves and self._times is not None:
                row = int((~is_finite.reshape(len(tensor), -1).all(1)).int().argmax())
                when = f" from time {float(self._times[row]):g} on" if row else " from its first time on"
            raise self._error(scene, f"returned {path}, which is not finite{when}")
        return tensor, moves

    def _check_rigid(self, scene: Scene, path: str, poses: Tensor) -> None:
        try:
            check_rigid("", path, poses, RENDERED_TOLERANCE)
        except ShapeError as error:
            raise self._error(scene, f"returned a pose: {str(error).removeprefix(': ')}") from None

    def _in_scene(self, scene: Scene, full: str, field: str, value: Tensor) -> Tensor:
        """Return a value in the world of the scene, whose origin is that of the program's at `origin`."""
        if not any(self._origin):
            return value
        origin, parts = value.new_tensor(self._origin), ParameterPath.parse(full)
        if field == POSE_FIELD:
            return torch.cat([value[..., :3], value[..., 3:] - torch.cat([origin, origin.new_zeros(1)])[:, None]], -1)
        light = scene.lights[parts.name] if parts.root == "lights" else None
        is_light = light is not None and kinds_of(light)[parts.field] == POSITION
        is_light = is_light and getattr(light, "frame", "world") == "world"
        return value - origin if field == "position" and (is_light or parts.root == "objects") else value

    def _error(self, scene: Scene, what: str) -> ProgramError:
        return ProgramError(f"{self._place()}: {self.name}({_written(scene.program)}) {what}")

    def _place(self, error: BaseException | None = None) -> str:
        """Return file and line of the function, or where in its file or folder an error came from."""
        code = getattr(inspect.unwrap(self._function), "__code__", None)
        if code is None:
            return self.name
        place = code.co_filename, code.co_firstlineno
        frames = [] if error is None else traceback.extract_tb(error.__traceback__)
        return "{}, line {}".format(*innermost(Path(code.co_filename), frames) or place)


def innermost(file: Path, frames: Iterable[traceback.FrameSummary]) -> tuple[str, int] | None:
    """Return file and line of the last frame that is in `file` or in a module of its folder; None if none is."""
    folder = file.resolve().parent
    own = [
        frame
        for frame in frames
        if (path := Path(frame.filename).resolve()) == file.resolve()
        or (
            path.is_relative_to(folder)
            and not OTHERS & set(path.relative_to(folder).parts)
            and not path.is_relative_to(PYTHON)
            and not frame.filename.startswith("<")  # <string>, <frozen os>
        )
    ]
    return (_short(own[-1].filename), own[-1].lineno or 0) if own else None


def with_parameters(scene: Scene, parameters: Mapping[str, Parameter]) -> Scene:
    """Return `scene` with the parameters of a program at their start. Raises ShapeError for one outside its range."""
    values = {}
    for name, each in parameters.items():
        try:
            value = each.tensor().to(scene.background.device)
            each.parametrization().latent_of(value)
        except ShapeError as error:
            raise ShapeError(f"{ROOT}.{name}: {error}") from error
        values[name] = value
    return replace(scene, program=values)


def _short(file: str) -> str:
    """Return a file name for messages: relative if it is below the working folder."""
    try:
        return os.path.relpath(file) if Path(file).is_relative_to(Path.cwd()) else file
    except (OSError, ValueError):
        return file


def _written(parameters: Mapping[str, Tensor]) -> str:
    """Write the values of parameters as arguments."""
    return ", ".join(f"{name}={written(value)}" for name, value in parameters.items())


def written(value: Tensor) -> str:
    """Write a number or numbers to six digits, of many the first ones."""
    numbers = [f"{each:.6g}" for each in value.detach().reshape(-1)[:6].tolist()]
    more = ", ..." if value.numel() > 6 else ""
    return numbers[0] if value.dim() == 0 else f"[{', '.join(numbers)}{more}]"
