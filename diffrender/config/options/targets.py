"""The images that the scene is fitted to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, TypeAlias

from pydantic import Field

from diffrender.config.defaults import EVERY, SYNTHETIC_RESOLUTION
from diffrender.config.options.base import Finding, Strict
from diffrender.config.options.fields import (
    Every,
    FileOrFolder,
    Pair,
    PositiveFloat,
    PositiveInt,
    TargetBackground,
    Vector,
    is_ascending,
    must,
)
from diffrender.config.options.lights import AnyLight
from diffrender.config.options.objects import Named, SceneParts

Degrees: TypeAlias = Annotated[float, Field(ge=-90, le=90)]


class SyntheticOptions(SceneParts):
    """A target scene that is rendered on the fly, by dense supersampling, from cameras spread over a sphere."""

    normalize: bool = Field(
        default=False, description="center the objects on their bounding box and scale them into the unit sphere"
    )
    views: PositiveInt = Field(default=24, description="number of cameras")
    grid: Pair[PositiveInt] | None = Field(
        default=None, description="instead: cameras on N azimuths x M polar angles, poles excluded"
    )
    radius: PositiveFloat = Field(default=3.0, description="distance of the cameras from `center`")
    center: Vector = Field(default=(0.0, 0.0, 0.0), description="where the cameras look")
    fov_deg: float = Field(default=40.0, gt=0, lt=180, description="vertical field of view in degrees")
    elevation_deg: Annotated[Pair[Degrees], must("two numbers, the lower one first", is_ascending)] = Field(
        default=(-30.0, 60.0), description="lowest and highest camera, in degrees above the horizontal plane"
    )
    samples: int = Field(default=8, ge=1, le=32, description="samples along each side of a pixel")
    light_samples: int | None = Field(
        default=None,
        ge=3,
        le=4096,
        description="directions to an environment's light, shaded one by one at each of these samples: the truth, where"
        " the fit has means over lobes; if omitted: those means here too",
    )
    exposure_stops: float = Field(
        default=0.0, ge=0, le=8, description="pictures are exposed differently, by up to N stops either way"
    )
    color_cast: float = Field(
        default=0.0, ge=0, lt=1, description="and each of their channels is off by up to this part of itself"
    )
    relight: Annotated[Named[AnyLight], Field(min_length=1)] | None = Field(
        default=None,
        description="light that the fit never sees: fitted and target materials are compared under it at the end",
    )


class TargetsOptions(Strict):
    """The images that the scene is fitted to: `path` or `synthetic`."""

    path: FileOrFolder | None = Field(default=None, description="a folder with transforms.json, or such a file")
    synthetic: SyntheticOptions | None = Field(default=None, description="a target scene, rendered on the fly")
    resolution: PositiveInt | None = Field(
        default=None,
        description=f"long side in pixels; if omitted: the images' own, or {SYNTHETIC_RESOLUTION} for `synthetic`",
    )
    test_every: Every = Field(
        default="auto",
        description="hold out every Nth view; null: none; auto: the views of transforms_test.json if there is one, else"
        f" every {EVERY}th",
    )
    background: TargetBackground | None = Field(
        default=None,
        description="behind masked photographs; if omitted: the scene's; random: another colour in each view at"
        " each step, behind renderings and targets alike (it needs masks)",
    )
    masks: bool = Field(default=True, description="false: ignore masks; transparency still shows the background")

    def rules(self) -> Iterator[Finding]:
        """Yield what is wrong with the ways to give targets."""
        if self.path is not None and self.synthetic is not None:
            yield Finding(("synthetic",), "`targets` has both `path` and `synthetic`", ("remove one of them",))
        if self.path is None and self.synthetic is None:
            notes = (
                "photographs: `path: folder_with_transforms_json`",
                "rendered on the fly: `synthetic: {mesh: {init: bumpy}}`",
            )
            yield Finding((), "`targets` lacks `path` or `synthetic`: where the images come from", notes)
        if self.background == "random" and not self.masks:
            message = "a random background needs masks, but `targets.masks` is false"
            yield Finding(("background",), message, ("remove one of the two",))
