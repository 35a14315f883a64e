"""The whole scene file as types, with defaults. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, Field

from diffrender.config import scene_dependent_defaults as defaults
from diffrender.config.options.base import Finding, Strict, is_off, option
from diffrender.config.options.edges import AntialiasOptions, AnyEdges, SoftOptions
from diffrender.config.options.losses import LossOptions
from diffrender.config.options.objects import SceneParts
from diffrender.config.options.parameters import ParameterOptions
from diffrender.config.options.targets import TargetsOptions
from diffrender.config.options.value_types import Device, FileOrFolder, PositiveFloat, PositiveInt, Seed

ONE_OF_THEM = ("remove one of them (from a command: --set optimize.minutes=null)",)


class ResolutionOptions(Strict, shorthands={float: "scale"}):
    """Smaller images in the first steps, which makes them cheap."""

    scale: float = Field(gt=0, le=1, description="scale of the first images; it doubles until it is 1")
    until: PositiveInt | None = option(None, "first step with full-size images; if omitted: half of the steps")


class RenderOptions(Strict):
    """How the scene is rendered."""

    edges: AnyEdges = option(AntialiasOptions(), "how silhouettes are rendered")
    near: PositiveFloat | None = option(
        None,
        "smallest depth that is drawn, in world units, for perspective cameras; if omitted:"
        f" {defaults.NEAR:g} radii of the targets' region",
    )


def _entry(entry: Any) -> Any:
    return None if is_off(entry) else {} if entry is None else entry


Learned: TypeAlias = Annotated[ParameterOptions | None, BeforeValidator(_entry)]


class OptimizeOptions(Strict, extra="allow"):
    """What is optimised, and how long. Every other key is the dotted path of a value that is learned besides shapes and
    base colours (mesh.vertices, material.base_color), or off. Where a pose or scale is learned, those are known.
    """

    extra_kind: ClassVar[type[BaseModel] | None] = ParameterOptions
    extra_words: ClassVar[tuple[str, str, str]] = (
        "<path>",
        "a number, a mapping or off",
        "the dotted path of a value, such as mesh.vertices",
    )
    __pydantic_extra__: dict[str, Learned] = Field(init=False)

    method: Literal["adam", "levenberg_marquardt"] = option(
        "adam",
        "levenberg_marquardt: damped Gauss-Newton steps on all views, best for few numbers such as poses,"
        " cameras or lights; it has no learning rates, ends when nothing is gained any more, and tells how certain up"
        " to 1000 numbers are; more are solved for by conjugate gradients",
    )
    steps: PositiveInt = option(
        400,
        f"gradient steps; at most, and {defaults.STEPS_OF_LEAST_SQUARES} if omitted, with levenberg_marquardt. For a"
        " shape that masks carve, if omitted, more with many views: until each was compared"
        f" {defaults.TIMES_PER_VIEW} times, but {defaults.MOST_STEPS} at most",
    )
    minutes: PositiveFloat | None = option(
        None, "time for the steps in place of their number, which a short trial finds and scene.resolved.yaml holds"
    )
    batch_size: PositiveInt | None = option(4, "views per step; null: all of them")
    seed: Seed = option(0, "seed of the order of views and of random backgrounds")
    resolution: ResolutionOptions | None = option(
        None, "smaller images at first, such as 0.25; null: full-size images at every step"
    )

    def parameters(self) -> dict[str, ParameterOptions]:
        """Return the options of each dotted path that is learned."""
        return {path: options for path, options in self.written().items() if options is not None}

    def written(self) -> dict[str, ParameterOptions | None]:
        """Return the options of each dotted path; None if it is switched off."""
        return dict(self.__pydantic_extra__ or {})

    def most_steps(self) -> int:
        """Return the number of steps, at most; what counts steps cannot be beside `minutes`."""
        is_few = self.method == "levenberg_marquardt" and "steps" not in self.model_fields_set
        return defaults.STEPS_OF_LEAST_SQUARES if is_few else self.steps

    def with_parameters(self, parameters: Mapping[str, ParameterOptions | None]) -> OptimizeOptions:
        """Return a copy with other dotted paths."""
        written = self.model_fields_set & OptimizeOptions.model_fields.keys()
        own: dict[str, Any] = {name: getattr(self, name) for name in written}
        entries = {path: "off" if options is None else options for path, options in parameters.items()}
        return OptimizeOptions.model_validate({**own, **entries})

    def rules(self) -> Iterator[Finding]:
        """Yield steps that are never reached, steps beside minutes, and what the method does not know."""
        if self.method == "levenberg_marquardt":
            yield from self._beside_least_squares()
        if self.minutes is not None:
            yield from self._steps_beside_minutes()
            return
        steps = self.most_steps()
        if self.resolution is not None and (self.resolution.until or 0) > steps:
            message = f"full-size images would start at step {self.resolution.until} of {steps}, which is never reached"
            yield Finding(("resolution", "until"), message, ("make `until` smaller or `steps` larger",))
        parameters = self.parameters()
        # Where nothing is placed, shapes and colours are learned besides.
        places = any(path.split(".")[-1] in ("pose", "scale") and path != "cameras.pose" for path in parameters)
        if places and all((options.start or 0) > 0 for options in parameters.values()):
            message = "nothing is optimised at step 0: every value has a later `start`"
            yield Finding((), message, ("remove `start` from one of them",))
        for path, options in parameters.items():
            yield from (found._replace(location=(path, *found.location)) for found in options.rules_at(path))
            if (options.start or 0) >= steps:
                message = f"`{path}` would never be optimised: it starts at step {options.start} of {steps}"
                yield Finding((path, "start"), message, ("make `start` smaller or `steps` larger",))
            when = "continuous" if options.remesh is None else options.remesh.when
            late = [] if when == "continuous" else [step for step in when if step >= steps]
            if late:
                message = f"remeshing after step {late[0]} of {steps} is too late"
                yield Finding((path, "remesh"), message, ("use earlier steps",))

    def _beside_least_squares(self) -> Iterator[Finding]:
        """Yield what gradient steps alone have."""
        found: list[tuple[str, ...]] = []
        # A file that is written out has every default in it.
        if self.batch_size not in (None, OptimizeOptions.model_fields["batch_size"].default):
            found.append(("batch_size",))
        if self.minutes is not None:
            found.append(("minutes",))
        for path, options in self.parameters().items():
            defaults_of = type(options).model_fields
            rates = ("lr", "schedule", "optimizer", "betas", "remesh")
            found += [(path, key) for key in rates if getattr(options, key) != defaults_of[key].default]
        for location in found:
            message = f"`{location[-1]}` means nothing to `method: levenberg_marquardt`"
            yield Finding(location, message, ("remove one of them",))

    def _steps_beside_minutes(self) -> Iterator[Finding]:
        """Yield what is given in steps although their number is not known."""
        # A resolved file has every default in it.
        written = [] if self.steps == OptimizeOptions.model_fields["steps"].default else [("steps",)]
        if self.resolution is not None and self.resolution.until is not None:
            written.append(("resolution", "until"))
        for path, options in self.parameters().items():
            if options.start:
                written.append((path, "start"))
            if options.stop is not None:
                written.append((path, "stop"))
            if options.remesh is not None and (options.remesh.when != "continuous" or options.remesh.stop is not None):
                written.append((path, "remesh"))
        for location in written:
            message = f"`{'.'.join(location)}` counts steps, but their number follows from `minutes`"
            yield Finding(location, message, ONE_OF_THEM)


class ProgressOptions(Strict):
    """What is written while the fit runs."""

    pictures: int = option(8, "number of progress pictures, evenly spaced over the steps", ge=0)
    views: int = option(4, "number of views per picture", ge=1, le=16)
    video: bool = option(True, "whether to write progress.mp4")
    turntable: bool = option(True, "whether to write turntable.mp4, in which the result turns")


class DisplayOptions(Strict):
    """How light becomes pictures and videos; it does not affect the fit or its scores."""

    exposure: float = option(0.0, "in stops: light is multiplied by 2^exposure", ge=-20, le=20)
    tone: Literal["clip", "neutral"] = option(
        "clip", "light brighter than 1: clip cuts it off, neutral compresses it (Khronos PBR Neutral)"
    )


class FitConfig(SceneParts):
    """A whole scene file. Only `targets` is required."""

    targets: TargetsOptions = Field(description="the images that the scene is fitted to")
    from_run: FileOrFolder | None = Field(
        None,
        alias="from",
        description="the folder of a run whose result is the initial scene, and whose cameras are those of views of the"
        " same names; objects and lights are then not written",
    )
    render: RenderOptions = option(RenderOptions(), "how the scene is rendered")
    optimize: OptimizeOptions = option(OptimizeOptions(), "what is optimised, and how long")
    loss: LossOptions | None = option(
        None,
        "terms that are added to the default, or whose options replace its own; null removes one. The default: image"
        " l1; mask 1 if the targets have masks; for learned vertices"
        f" normal_consistency {defaults.NORMAL_CONSISTENCY_OF_REMESHED:g} if they are remeshed"
        f" ({defaults.NORMAL_CONSISTENCY_WITHOUT_LIGHT:g} where images show no normals: unlit, and none compared),"
        f" {defaults.NORMAL_CONSISTENCY_WITH_LARGE_STEPS:g} with large_steps, else laplacian"
        f" {defaults.LAPLACIAN:g} and normal_consistency {defaults.NORMAL_CONSISTENCY:g}; material_smoothness and"
        f" color_smoothness {defaults.SMOOTHNESS:g} if more than the colour of a material is learned, and"
        f" {defaults.SMOOTHNESS_OF_TEXTURES:g} times the image loss for textures of remeshed vertices (this and the"
        f" vertices' own fall from {defaults.VIEWS_OF_PRIORS} views on, to {defaults.PART_OF_PRIORS:g} of it with"
        f" {defaults.MANY_VIEWS});"
        f" white_light {defaults.WHITE_LIGHT:g} if its colour is learned together with that of a light",
    )
    progress: ProgressOptions = option(ProgressOptions(), "pictures and videos of the fit")
    display: DisplayOptions = option(DisplayOptions(), "how light becomes pictures and videos")
    export: list[Literal["obj", "glb", "ply"]] = option(["obj", "glb"], "formats of the meshes")
    device: Device = option("auto", "where to compute; auto: a CUDA GPU if available")

    def rules(self) -> Iterator[Finding]:
        """Yield what is annealed beyond the last step, or until a step that is not known."""
        edges = self.render.edges
        ends = {("render", "edges", "anneal", "until"): edges.anneal.until if isinstance(edges, SoftOptions) else None}
        numbers = {} if self.program is None else self.program.anneal.by_name()
        ends |= {("program", "anneal", name, "until"): each.until for name, each in numbers.items()}
        steps = self.optimize.most_steps()
        for location, until in ends.items():
            if until is not None and self.optimize.minutes is not None:
                message = f"`{'.'.join(location)}` counts steps, but their number follows from `minutes`"
                yield Finding(location, message, ONE_OF_THEM)
            elif until is not None and until > steps:
                message = f"the last value would come at step {until} of {steps}, which is never reached"
                yield Finding(location, message, ("make `until` smaller or `steps` larger",))
