"""The options of each learning-rate schedule."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from diffrender.config.options.base import OneOf, Strict

FINAL = "the last learning rate, as a fraction of lr"


class ScheduleOptions(Strict, word="type"):
    """Base of the learning-rate schedules' options."""


class ConstantOptions(ScheduleOptions):
    """The same learning rate at every step."""

    type: Literal["constant"] = "constant"


class CosineOptions(ScheduleOptions):
    """Half a cosine wave down to `final` times the learning rate."""

    type: Literal["cosine"] = "cosine"
    final: float = Field(default=0.0, ge=0, le=1, description=FINAL)


class ExponentialOptions(ScheduleOptions):
    """Down by the same factor at each step, to `final` times the learning rate."""

    type: Literal["exponential"] = "exponential"
    final: float = Field(default=0.1, gt=0, le=1, description=FINAL)


AnySchedule: TypeAlias = Annotated[
    ConstantOptions | CosineOptions | ExponentialOptions, OneOf("type", otherwise="constant")
]
