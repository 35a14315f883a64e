"""The options of each learning-rate schedule."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from diffrender.config.options.base import OneOf, Strict, option

FINAL = "the last learning rate, as a fraction of lr"


class ScheduleOptions(Strict, shorthands={str: "type"}):
    """Base of the learning-rate schedules' options."""


class ConstantOptions(ScheduleOptions):
    """The same learning rate at every step."""

    type: Literal["constant"] = "constant"


class CosineOptions(ScheduleOptions):
    """Half a cosine wave down to `final` times the learning rate."""

    type: Literal["cosine"] = "cosine"
    final: float = option(0.0, FINAL, ge=0, le=1)


class ExponentialOptions(ScheduleOptions):
    """Down by the same factor at each step, to `final` times the learning rate."""

    type: Literal["exponential"] = "exponential"
    final: float = option(0.1, FINAL, gt=0, le=1)
    hold: float = option(0.0, "fraction of the steps before it goes down", ge=0, lt=1)


AnySchedule: TypeAlias = Annotated[
    ConstantOptions | CosineOptions | ExponentialOptions, OneOf("type", otherwise="constant")
]
