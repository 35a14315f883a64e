"""The options of each light."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from diffrender.config.options.base import Finding, Form, OneOf, Strict, option
from diffrender.config.options.value_types import (
    Color,
    File,
    FileOrFolder,
    Fixed,
    Name,
    NonzeroVector,
    Vector,
    must,
)
from diffrender.config.scene_dependent_defaults import HEIGHT_UNIT, MAP_HEIGHT

WHITE = (1.0, 1.0, 1.0)


class RotationOptions(Strict):
    """A rotation about an axis."""

    axis: NonzeroVector = Field(description="need not be normalized")
    degrees: float = Field(description="angle about the axis, by the right-hand rule")


class ShadowOptions(Strict, shorthands={float: "softness", bool: ""}):
    """How a light casts shadows."""

    softness: float = option(
        0.01, "half the width of a shadow's edge, as a fraction of the shadow map's width", gt=0, le=0.25
    )
    resolution: int = option(512, "texels along each side of a shadow map", ge=16, le=8192)


LightFrame: TypeAlias = Annotated[
    Fixed[Literal["world", "camera"]],
    Field(description="what the light is fixed to; camera: it moves with each camera, in its axes (x right, y down)"),
]
CastShadow: TypeAlias = Annotated[
    Fixed[ShadowOptions | None],
    BeforeValidator(lambda value: None if value is False else value),
    Field(description="true, or {softness: 0.01, resolution: 512}: whether the light casts shadows"),
]
Position: TypeAlias = Annotated[Vector, Field(description="where it is")]
Intensity: TypeAlias = Annotated[Color, Field(description="linear RGB; falls off with the squared distance")]
Rotation: TypeAlias = Annotated[RotationOptions | None, Field(description="{axis: [x, y, z], degrees: a}")]
ConeAngle: TypeAlias = Annotated[float, Field(gt=0, le=89)]
"""Degrees between a cone and its axis."""


class LightOptions(Strict, shorthands={str: "type"}):
    """Base of the lights' options."""

    name: Fixed[Name | None] = option(None, "name in paths of `optimize:`; if omitted: the type")


class AmbientOptions(LightOptions):
    """The same light from all directions."""

    type: Literal["ambient"] = "ambient"
    radiance: Color = option(WHITE, "linear RGB")


class DirectionalOptions(LightOptions):
    """Parallel light, from very far away."""

    type: Literal["directional"] = "directional"
    direction: NonzeroVector = option((0.0, -1.0, 0.0), "direction in which the light travels")
    radiance: Color = option(WHITE, "linear RGB; a white surface that faces it reflects 1/pi of it")
    frame: LightFrame = "world"
    shadow: CastShadow = None


class PointOptions(LightOptions):
    """Light from a point, the same in all directions."""

    type: Literal["point"] = "point"
    position: Position = (0.0, 2.0, 0.0)
    intensity: Intensity = WHITE
    frame: LightFrame = "world"
    shadow: CastShadow = None


class SpotOptions(LightOptions):
    """Light from a point, in a cone."""

    type: Literal["spot"] = "spot"
    position: Position = (0.0, 2.0, 0.0)
    direction: NonzeroVector = option((0.0, -1.0, 0.0), "direction of the axis of its cone")
    intensity: Intensity = WHITE
    inner_deg: ConeAngle = option(20.0, "full intensity up to this angle from the axis")
    outer_deg: ConeAngle = option(30.0, "no intensity from this angle on")
    frame: LightFrame = "world"
    shadow: CastShadow = None


Coefficients: TypeAlias = Annotated[
    list[Vector], must("9 or 16 rows [r, g, b]", lambda rows: len(rows) in (9, 16)), Form("9 or 16 rows [r, g, b]")
]


class SphericalHarmonicsOptions(LightOptions):
    """A smooth environment of a few coefficients."""

    type: Literal["spherical_harmonics"] = "spherical_harmonics"
    coefficients: Coefficients | None = option(
        None, "9 or 16 rows [r, g, b], z polar; if omitted: radiance 1 everywhere"
    )
    order: Fixed[Literal[2, 3]] = option(2, "9 or 16 coefficients, if they are omitted")
    frame: LightFrame = "world"


MapHeight: TypeAlias = Annotated[
    int, Field(ge=HEIGHT_UNIT, le=2048), must(f"a multiple of {HEIGHT_UNIT}", lambda rows: rows % HEIGHT_UNIT == 0)
]


class EnvironmentOptions(LightOptions):
    """An environment map: light from all directions, as a lat-long image."""

    type: Literal["environment"] = "environment"
    radiance: Annotated[Color | Annotated[File, Form("sky.hdr")], OneOf()] = option(
        WHITE, "a lat-long image (its middle is at +x), or a colour to start from"
    )
    resolution: Fixed[MapHeight | None] = option(
        None, f"rows of the map, half its columns; if omitted: the file's own, or {MAP_HEIGHT}"
    )
    rotation: Rotation = None
    frame: LightFrame = "world"


def _is_list_of_lists(value: object) -> bool:
    return isinstance(value, list) and any(isinstance(row, list) for row in value)


class FlashesOptions(LightOptions):
    """One directional light per view."""

    type: Literal["flashes"] = "flashes"
    direction: Annotated[
        Annotated[FileOrFolder, Form("lights.txt or a folder of a mirror ball")]
        | Annotated[list[NonzeroVector], Field(min_length=1), Form("[[x, y, z], ...]")],
        OneOf(),
    ] = option(
        [(0.0, 0.0, -1.0)],
        "directions in which the lights travel, one per view; or a file with vectors towards the lights (after"
        " their number), or a folder with pictures of a mirror ball",
    )
    radiance: Annotated[
        Annotated[
            list[Color],
            Field(min_length=1),
            Form("[[r, g, b], ...]", fits=_is_list_of_lists),
        ]
        | Color,
        OneOf(),
    ] = option(WHITE, "linear RGB of each light: one for all, or one per view")
    frame: LightFrame = "world"

    def rules(self) -> Iterator[Finding]:
        """Yield `radiance`, if it lists another number of lights than `direction`."""
        radiance, direction = self.radiance, self.direction
        if isinstance(radiance, list) and isinstance(direction, list) and len(radiance) != len(direction):
            message = f"`radiance` has {len(radiance)} rows, but `direction` has {len(direction)}"
            yield Finding(("radiance",), message, ("write one colour for all, or one per direction",))


AnyLight: TypeAlias = Annotated[
    AmbientOptions
    | DirectionalOptions
    | PointOptions
    | SpotOptions
    | SphericalHarmonicsOptions
    | EnvironmentOptions
    | FlashesOptions,
    OneOf("type"),
]
