"""The options of every light, as a scene file writes them; see `shelf`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from diffrender.config.options.fields import (
    Color,
    File,
    FileOrFolder,
    Named,
    NonzeroVector,
    OneOf,
    Strict,
    Vector,
    is_number,
    wanted,
)

LightFrame: TypeAlias = Annotated[
    Literal["world", "camera"],
    Field(description="what the light is fixed to; camera: it goes with each camera, in its axes (x right, y down)"),
]


class RotationOptions(Strict):
    """A turn about an axis."""

    axis: NonzeroVector = Field(description="need not be unit")
    degrees: float = Field(description="counter-clockwise seen against the axis")


class LightOptions(Named):
    """Base of the lights' options."""

    word_key: ClassVar[str | None] = "type"
    name: str | None = Field(
        default=None, min_length=1, pattern=r"^[^.\s]+$", description="a name, for `optimize:`; left out: the type"
    )


class AmbientOptions(LightOptions):
    """The same light from everywhere."""

    type: Literal["ambient"] = "ambient"
    radiance: Color = Field(default=(1.0, 1.0, 1.0), description="linear RGB")


class ShadowOptions(Named):
    """How a light casts shadows."""

    number_key: ClassVar[str | None] = "softness"
    softness: float = Field(
        default=0.01, gt=0, le=0.25, description="half the width of a shadow's edge, as a part of its map's width"
    )
    resolution: int = Field(default=512, ge=16, le=8192, description="texels along each side of a shadow map")


def _true_is_default(value: Any) -> Any:
    if isinstance(value, bool):
        return ShadowOptions() if value else None
    return value


CastShadow: TypeAlias = Annotated[
    ShadowOptions | None,
    BeforeValidator(_true_is_default),
    Field(description="true, or {softness: 0.01, resolution: 512}: whether the light casts shadows"),
]


class DirectionalOptions(LightOptions):
    """Light from very far away."""

    type: Literal["directional"] = "directional"
    direction: NonzeroVector = Field(default=(0.0, -1.0, 0.0), description="the way the light travels")
    radiance: Color = Field(
        default=(1.0, 1.0, 1.0), description="linear RGB; a white surface that faces it reflects 1/pi of it"
    )
    frame: LightFrame = "world"
    shadow: CastShadow = None


class PointOptions(LightOptions):
    """A bare bulb."""

    type: Literal["point"] = "point"
    position: Vector = Field(default=(0.0, 2.0, 0.0), description="where it is")
    intensity: Color = Field(default=(1.0, 1.0, 1.0), description="linear RGB; falls off with the squared distance")
    frame: LightFrame = "world"
    shadow: CastShadow = None


ConeAngle: TypeAlias = Annotated[float, Field(gt=0, le=89)]
"""Degrees between a cone and its axis."""


class SpotOptions(LightOptions):
    """A torch."""

    type: Literal["spot"] = "spot"
    position: Vector = Field(default=(0.0, 2.0, 0.0), description="where it is")
    direction: NonzeroVector = Field(default=(0.0, -1.0, 0.0), description="the way its cone points")
    intensity: Color = Field(default=(1.0, 1.0, 1.0), description="linear RGB; falls off with the squared distance")
    inner_deg: ConeAngle = Field(default=20.0, description="up to this angle from the axis it is at its full")
    outer_deg: ConeAngle = Field(default=30.0, description="from this angle on there is nothing")
    frame: LightFrame = "world"
    shadow: CastShadow = None


def _coefficients(value: Any) -> Any:
    rows = value if isinstance(value, list | tuple) else []
    fits = all(isinstance(row, list | tuple) and len(row) == 3 and all(map(is_number, row)) for row in rows)
    if len(rows) not in (9, 16) or not fits:
        raise wanted("9 or 16 rows [r, g, b]")
    return tuple(tuple(float(item) for item in row) for row in rows)


class SphericalHarmonicsOptions(LightOptions):
    """A smooth sky of a few coefficients."""

    type: Literal["spherical_harmonics"] = "spherical_harmonics"
    coefficients: Annotated[tuple[Any, ...], BeforeValidator(_coefficients)] | None = Field(
        default=None, description="9 or 16 rows [r, g, b], z polar; left out: radiance 1 everywhere"
    )
    order: Literal[2, 3] = Field(default=2, description="9 or 16 coefficients, where they are left out")
    frame: LightFrame = "world"


def _pick_map(value: Any) -> str:
    return "file" if isinstance(value, str) and value not in ("black", "white") else "color"


def _map_height(value: int | None) -> int | None:
    if value is not None and value % 16:
        raise wanted("a multiple of 16")
    return value


class EnvironmentOptions(LightOptions):
    """A sky as a lat-long image."""

    type: Literal["environment"] = "environment"
    radiance: Annotated[File | Color, OneOf(("file", "color"), _pick_map, ("sky.hdr", "a colour"))] = Field(
        default=(1.0, 1.0, 1.0), description="a lat-long image (its middle is at +x), or a colour to start from"
    )
    resolution: Annotated[int | None, Field(ge=16, le=2048), AfterValidator(_map_height)] = Field(
        default=None, description="rows of the map, half its columns; left out: the file's own, or 32"
    )
    rotation: RotationOptions | None = Field(default=None, description="{axis: [x, y, z], degrees: a}")
    frame: LightFrame = "world"


def _pick_directions(value: Any) -> str:
    return "file" if isinstance(value, str) else "rows"


class FlashesOptions(LightOptions):
    """A distant lamp for each view."""

    type: Literal["flashes"] = "flashes"
    direction: Annotated[
        FileOrFolder | Annotated[list[NonzeroVector], Field(min_length=1)],
        OneOf(("file", "rows"), _pick_directions, ("lights.txt", "a folder of a mirror ball", "[[x, y, z], ...]")),
    ] = Field(
        default=[(0.0, 0.0, -1.0)],
        description="the ways the lights travel, one a view; or a file with vectors towards them (first their number),"
        " or a folder with pictures of a mirror ball",
    )
    radiance: Color = Field(default=(1.0, 1.0, 1.0), description="linear RGB of each")
    frame: LightFrame = "world"


LIGHT_OPTIONS = {
    "ambient": AmbientOptions,
    "directional": DirectionalOptions,
    "point": PointOptions,
    "spot": SpotOptions,
    "spherical_harmonics": SphericalHarmonicsOptions,
    "environment": EnvironmentOptions,
    "flashes": FlashesOptions,
}

AnyLight: TypeAlias = Annotated[
    AmbientOptions
    | DirectionalOptions
    | PointOptions
    | SpotOptions
    | SphericalHarmonicsOptions
    | EnvironmentOptions
    | FlashesOptions,
    OneOf.by_key(LIGHT_OPTIONS),
]
