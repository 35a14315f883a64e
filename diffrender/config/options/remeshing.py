"""How a mesh is remeshed during a fit, as a scene file writes it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from diffrender.config.options.fields import Named, OneOf, PositiveFloat, PositiveInt

Fraction = Annotated[float, Field(ge=0, le=1)]


def _pick_when(value: Any) -> str:
    return "steps" if isinstance(value, list) else "word"


class RemeshScheduleOptions(Named):
    """How a mesh is remeshed as it is fitted; `continuous` or a list of steps may stand for all of it."""

    word_key: ClassVar[str | None] = "when"
    list_key: ClassVar[str | None] = "when"
    when: Annotated[
        Literal["continuous"] | list[PositiveInt], OneOf(("word", "steps"), _pick_when, ("continuous", "[200, 400]"))
    ] = Field(default="continuous", description="continuous, or the numbers of steps after which to remesh")
    every: PositiveInt | None = Field(
        default=None, description="of continuous: so many steps apart; left out: 1, or 5 with large_steps"
    )
    start: int = Field(default=0, ge=0, description="of continuous: not before so many steps")
    stop: PositiveInt | None = Field(default=None, description="of continuous: not from so many steps on")
    shortest: PositiveFloat | None = Field(
        default=None, description="of the wanted edge lengths, in object units; left out: two pixels"
    )
    longest: PositiveFloat | None = Field(
        default=None, description="of the wanted edge lengths, in object units; left out: 0.33 radii of the region"
    )
    settled: PositiveFloat = Field(
        default=0.6, description="the part of the fit after which all wanted lengths are the shortest"
    )
    gain: Fraction = Field(default=0.3, description="how quickly wanted lengths follow the speed of vertices")
    rest: Fraction = Field(default=0.3, description="the speed, 0 to 1, at which a wanted length stays")
    full_speed: PositiveFloat = Field(default=0.3, description="what speed 1 is, in wanted lengths a step")
    smoothing: Fraction | None = Field(
        default=None,
        description="part of the way to their neighbours' mean that vertices are pulled in a step;"
        " left out: 0.02, or 0 with large_steps",
    )
    passes: PositiveInt = Field(default=1, description="of the remesher, each time")
    most_faces: PositiveInt = Field(default=100_000, description="wanted lengths are stretched to have no more")
    unwrap: bool | None = Field(
        default=None,
        description="whether textures get new texture coordinates after the last remeshing, and are carried there;"
        " left out: where remeshing ends before the fit does, and the mesh was unwrapped here at the start, too",
    )
