"""The options of one optimised value, and of remeshing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from diffrender.config import scene_dependent_defaults as defaults
from diffrender.config.options.base import Finding, Form, OneOf, Strict, option
from diffrender.config.options.schedules import AnySchedule, ConstantOptions
from diffrender.config.options.value_types import Fraction, Pair, PositiveFloat, PositiveInt, Weight

Method: TypeAlias = Literal[
    "identity",
    "positive",
    "unit_interval",
    "bounded",
    "direction",
    "pose",
    "camera_poses",
    "large_steps",
    "zero_mean",
    "balanced",
    "monotone",
]
"""The parametrisations."""

Optimizer: TypeAlias = Literal["adam", "vector_adam", "adam_uniform"]
"""The optimizers."""

SHAPE = "mesh.vertices"
PROGRAM = "program."
# Methods that apply to one kind of value only.
MADE_FOR = {
    "large_steps": SHAPE,
    "zero_mean": "cameras.exposure",
    "balanced": "cameras.white_balance",
    "camera_poses": "cameras.pose",
    "monotone": "cameras.response",
    "bounded": f"{PROGRAM}<name> with a range",
}
# What cameras are and see with, which is pulled to its start; the latter can be one lens of all.
DISTORTION = ("cameras.k1", "cameras.k2", "cameras.p1", "cameras.p2")
GEOMETRY_OF_CAMERAS = ("cameras.pose", "cameras.focal", "cameras.center", *DISTORTION)
# What the light does on its way through the lens into the file.
PHOTOMETRY_OF_LENS = ("cameras.vignetting", "cameras.response")
LENS = (*GEOMETRY_OF_CAMERAS[1:], *PHOTOMETRY_OF_LENS)
PULLED = (*GEOMETRY_OF_CAMERAS, *PHOTOMETRY_OF_LENS)

Beta: TypeAlias = Annotated[float, Field(ge=0, lt=1)]
Steps: TypeAlias = Annotated[list[PositiveInt], Form("[200, 400]")]


def stop_after_start(options: RemeshScheduleOptions | ParameterOptions) -> Iterator[Finding]:
    """Yield `stop`, if it is not after `start`."""
    start = options.start or 0
    if options.stop is not None and options.stop <= start:
        yield Finding(("stop",), f"`stop` {options.stop} is not after `start` {start}", ("make `stop` larger",))


class RemeshScheduleOptions(Strict, shorthands={str: "when", list: "when"}):
    """How a mesh is remeshed as it is fitted."""

    when: Annotated[Literal["continuous"] | Steps, OneOf()] = option(
        "continuous", "continuous, or the numbers of steps after which to remesh"
    )
    every: PositiveInt | None = option(
        None,
        f"continuous only: remesh after every Nth step; if omitted: 1, or"
        f" {defaults.EVERY_WITH_LARGE_STEPS} with large_steps",
    )
    start: int = option(0, "continuous only: first step", ge=0)
    stop: PositiveInt | None = option(None, "continuous only: last step (exclusive)")
    shortest: PositiveFloat | None = option(
        None,
        f"target edge length, in object units; if omitted: {defaults.SHORTEST_PX:g} pixels. Until images are full"
        " size it counts twice if `resolution` begins at a quarter of that, four times at an eighth",
    )
    longest: PositiveFloat | None = option(
        None, f"target edge length, in object units; if omitted: {defaults.LONGEST:g} radii of the region"
    )
    settled: PositiveFloat = option(0.6, "fraction of the fit after which all target lengths are the shortest")
    gain: Fraction = option(0.3, "how quickly target lengths follow the speed of vertices")
    rest: Fraction = option(0.3, "speed, 0 to 1, at which a target length stays the same")
    full_speed: PositiveFloat = option(0.3, "speed that counts as 1, in target lengths per step")
    smoothing: Fraction | None = option(
        None,
        "fraction of the way to the mean of their neighbours that vertices are pulled per step;"
        f" if omitted: {defaults.SMOOTHING:g}, or 0 with large_steps",
    )
    passes: PositiveInt = option(1, "passes of the remesher each time")
    most_faces: PositiveInt = option(100_000, "maximum number of faces; target lengths are increased to keep it")
    subdivide: bool = option(
        False, "whether each face becomes four when remeshing ends, by Loop's scheme; a quarter of most_faces before"
    )
    unwrap: bool | None = option(
        None,
        "whether the object gets new texture coordinates after the last remeshing, and textures are transferred;"
        " if omitted: if remeshing ends before the fit and no texture is of a mesh file's own",
    )

    def rules(self) -> Iterator[Finding]:
        """Yield mistakes in the combination of steps and lengths."""
        if self.when != "continuous":
            for key in ("every", "start", "stop"):
                if getattr(self, key):
                    yield Finding((key,), f"`{key}` cannot be combined with a list of steps", ("remove it",))
        else:
            yield from stop_after_start(self)
        if self.shortest is not None and self.longest is not None and self.shortest > self.longest:
            message = f"`shortest` {self.shortest:g} is above `longest` {self.longest:g}"
            yield Finding(("shortest",), message, ("make it smaller",))


class ParameterOptions(Strict, shorthands={float: "lr"}):
    """How one value of the scene is optimised."""

    lr: PositiveFloat | None = option(
        None,
        "the learning rate; if omitted, by its method:"
        f" {', '.join(f'{method} {rate:g}' for method, rate in defaults.RATES.items())} (in radii, for lengths);"
        f" {defaults.CAMERA_RATE:g} for cameras.pose, focal, center and distortion, {defaults.BLUR_RATE:g} for"
        " cameras.blur; for remeshed vertices"
        f" {defaults.RATE_IN_EDGES:g} edge"
        f" lengths, or {defaults.RATE_OF_REMESHED_LARGE_STEPS:g} radii with large_steps",
    )
    start: int | None = option(
        None,
        "step at which optimisation of this value starts; if omitted: the first, or, of cameras.pose, focal, center,"
        f" distortion where anything else is learned, after {defaults.CAMERAS_START:g} of the steps, shape first, then"
        " cameras, unless the mesh starts from a visual hull",
        ge=0,
    )
    stop: PositiveInt | None = option(None, "step at which optimisation of this value stops")
    pull: Weight | None = option(
        None,
        "cameras.pose and the lens only: how strongly each step pulls them back to their start, against what"
        f" images do not determine; if omitted: {defaults.CAMERA_PULL:g}. With levenberg_marquardt a prior of variance"
        " 1 / pull, in units of the objective; if omitted: none",
    )
    shared: bool | None = option(
        None,
        "cameras.focal, center, distortion, vignetting and response only: whether all views were taken with one lens,"
        " so that one factor, shift or row of numbers is learned; if omitted: true",
    )
    schedule: AnySchedule = option(ConstantOptions(), "how the learning rate changes")
    method: Method | None = option(
        None,
        "the parametrisation; if omitted: the usual one for the value; for mesh.vertices large_steps,"
        " or identity if they are remeshed",
    )
    # `lambda` is a keyword of Python.
    smoothness: Weight | None = option(
        None,
        "large_steps only: how far the gradient at one vertex spreads; if omitted: 1 per"
        f" {defaults.VERTICES_PER_LAMBDA} vertices, from {defaults.LAMBDAS[0]:g} to {defaults.LAMBDAS[1]:g};"
        f" {defaults.LAMBDA_OF_REMESHED:g} with remesh",
        alias="lambda",
    )
    solver: Literal["auto", "cholesky", "splu"] | None = option(
        None, "large_steps only: the linear solver; auto: cholesky if cholespy is installed"
    )
    optimizer: Optimizer | None = option(
        None, "if omitted: vector_adam for large_steps and for remeshed vertices, adam for all others"
    )
    betas: Pair[Beta] | None = option(
        None,
        "decay rates of the optimizer's two running means; if omitted:"
        f" {defaults.BETAS}, or {defaults.BETAS_IN_EDGES} for remeshed vertices without large_steps",
    )
    levels: int | None = option(
        None,
        "textures and environment maps only: number of coarser images, each half as large, that are learned"
        " with the finest and added to it, so that large regions converge in few steps; if omitted:"
        f" all with at least {defaults.LEAST_COARSE} texels along each side; 0: none",
        ge=0,
    )
    remesh: RemeshScheduleOptions | None = option(
        None,
        "mesh.vertices only: continuous, or the steps after which the mesh is remeshed; without"
        " large_steps, lr is then in edge lengths",
    )

    def rules(self) -> Iterator[Finding]:
        """Yield mistakes in the combination of steps."""
        yield from stop_after_start(self)

    def rules_at(self, path: str) -> Iterator[Finding]:
        """Yield options that do not apply to the value at `path`, short or full."""
        yield from self._options_of_cameras(path)
        is_shape, is_pose = path.endswith("mesh.vertices"), path.split(".")[-1] == "pose" and path != "cameras.pose"
        own = "pose" if is_pose else next((method for method, of in MADE_FOR.items() if path == of != SHAPE), None)
        value = SHAPE if is_shape else path
        if self.method == "bounded" and path.startswith(PROGRAM):
            return  # of a parameter with a range
        suits = self.method == own if own else self.method != "pose" and MADE_FOR.get(self.method, value) == value
        if self.method is not None and not suits:
            notes = [f"{self.method} is for {MADE_FOR[self.method]}"] if self.method in MADE_FOR else []
            if own in ("zero_mean", "balanced"):
                notes.append("remove it: the lights already determine overall brightness")
            if own:
                message = f"`{path}` must have the method `{own}`, got `{self.method}`"
            else:
                message = f"`{path}` cannot have the method `{self.method}`; omit it for the usual one"
            yield Finding(("method",), message, tuple(notes))
        elif not (is_shape and (self.method == "large_steps" or (self.method is None and self.remesh is None))):
            for key, given in (("lambda", self.smoothness), ("solver", self.solver)):
                if given is not None:
                    notes = ["write `method: large_steps`, or remove it" if is_shape else "remove it"]
                    yield Finding((key,), f"`{key}` only applies to `method: large_steps`", tuple(notes))
        if self.remesh is not None and not is_shape:
            note = "write it below the vertices of the object: `mesh.vertices: {remesh: continuous}`"
            yield Finding(("remesh",), f"`{path}` cannot be remeshed", (note,))

    def _options_of_cameras(self, path: str) -> Iterator[Finding]:
        """Yield options of the geometry of cameras that are given for another value."""
        for key, value, paths in (("pull", self.pull, PULLED), ("shared", self.shared, LENS)):
            if value is not None and path not in paths:
                yield Finding((key,), f"`{key}` is for {' and '.join(paths)}, not for `{path}`", ("remove it",))
        if self.method is not None and path in LENS and self.shared is not False:
            yield Finding(("method",), f"`{path}` has a method only with `shared: false`", ("remove it",))
