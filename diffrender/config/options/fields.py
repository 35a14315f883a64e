"""The kinds of values a scene file is made of: strict mappings, numbers in a range, colours, files, choices."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationInfo,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from diffrender.config.overrides import ShellText


class Strict(BaseModel):
    """Base of all mappings in a scene file: no unknown keys, no silent conversions, no infinities, no changes later.

    extra_kind: the type of the values under keys that are not fields, where there may be such.
    """

    extra_kind: ClassVar[type[BaseModel] | None] = None

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _nothing(cls, value: Any) -> Any:
        # A key whose lines are all commented out is null to YAML, and means the defaults to a person.
        return {} if value is None else value


class Named(Strict):
    """Base of options that one word or one number can stand for.

    `word_key`, `number_key` and `list_key` say which option a bare word, number or list sets: `image: l1` is
    `image: {type: l1}`, `mask: 1.0` is `mask: {weight: 1.0}`, `remesh: [200, 400]` is `remesh: {when: [200, 400]}`.
    """

    word_key: ClassVar[str | None] = None
    number_key: ClassVar[str | None] = None
    list_key: ClassVar[str | None] = None

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        if cls.word_key and isinstance(value, str):
            return {cls.word_key: value}
        if cls.number_key and is_number(value):
            return {cls.number_key: value}
        if cls.list_key and isinstance(value, list):
            return {cls.list_key: value}
        return value


def is_number(value: Any) -> bool:
    """Whether `value` is an int or a float, and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def wanted(what: str) -> PydanticCustomError:
    """The error of a value of a wrong kind: `what` says which kind was wanted."""
    return PydanticCustomError("wanted", "{what}", {"what": what})


@dataclass(frozen=True)
class OneOf:
    """Metadata of a union, Annotated[A | B, OneOf(...)]: which arm a value means.

    tags: a name for each arm, in order. Locations of errors hold them in angle brackets, which no key of a scene
        file has, so that they can be told from keys.
    pick: the tag that a value means, or None.
    known: what may be written, for the message when no arm fits.
    key: the key that holds the tag, or "" where the form of the value decides.
    """

    tags: tuple[str, ...]
    pick: Callable[[Any], str | None]
    known: tuple[str, ...]
    key: str = ""

    @classmethod
    def by_key(cls, tags: Iterable[str], key: str = "type", otherwise: str | None = None) -> OneOf:
        """The arm whose tag stands under `key`, or is the whole value; `otherwise` for null and for a bare number."""

        def pick(value: Any) -> str | None:
            if isinstance(value, BaseModel):
                return getattr(value, key)
            if isinstance(value, dict):
                value = value.get(key)
            if isinstance(value, str):
                return value
            return otherwise if value is None or is_number(value) else None

        return cls(tuple(tags), pick, tuple(tags), key)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        kinds = get_args(source) or (source,)
        arms = {f"<{tag}>": handler.generate_schema(kind) for tag, kind in zip(self.tags, kinds, strict=True)}

        def choose(value: Any) -> str | None:
            tag = self.pick(value)
            return None if tag is None else f"<{tag}>"

        return core_schema.tagged_union_schema(
            arms,
            choose,
            custom_error_type="choice",
            custom_error_message="no such form",
            custom_error_context={"key": self.key, "known": "|".join(self.known)},
        )


def _three_numbers(value: Any) -> Any:
    is_triple = isinstance(value, list | tuple) and len(value) == 3
    if is_triple and all(is_number(item) and math.isfinite(item) for item in value):
        return tuple(float(item) for item in value)
    raise wanted("three numbers [x, y, z]")


def _nonzero(value: tuple[float, float, float]) -> tuple[float, float, float]:
    if not any(value):
        raise wanted("a direction that is not [0, 0, 0]")
    return value


def low_to_high(value: tuple[Any, Any]) -> tuple[Any, Any]:
    """`value`, two numbers or two corners of a box, if the lower comes first; else an error for pydantic."""
    low, high = value
    if isinstance(low, tuple):
        if not all(a < b for a, b in zip(low, high, strict=True)):
            raise wanted("a box [[low x, y, z], [high x, y, z]] with each low below its high")
    elif low > high:
        raise wanted("two numbers, the lower one first")
    return value


def _all_positive(value: tuple[float, float, float]) -> tuple[float, float, float]:
    if min(value) <= 0:
        raise wanted("three numbers above 0")
    return value


def _color(value: Any) -> Any:
    words = {"black": (0.0,) * 3, "white": (1.0,) * 3}
    if isinstance(value, str) and value in words:
        return words[value]
    items: Any = [value] * 3 if is_number(value) else value
    if isinstance(items, list | tuple) and len(items) == 3 and all(is_number(item) for item in items):
        if all(math.isfinite(item) and item >= 0 for item in items):
            return tuple(float(item) for item in items)
        raise wanted("a colour of finite numbers from 0 up")
    raise wanted("a colour: one number for gray, [red, green, blue], black or white")


def _target_background(value: Any) -> Any:
    if value == "random":
        return value
    try:
        return _color(value)
    except PydanticCustomError:
        raise wanted("a colour (one number for gray, [red, green, blue], black or white) or random") from None


def _albedo(value: Any) -> Any:
    color = _color(value)
    if max(color) > 1:
        raise wanted("a colour between 0 and 1")
    return color


def _every(value: Any) -> Any:
    if value in ("auto", None) or (isinstance(value, int) and not isinstance(value, bool) and value >= 2):
        return value
    raise wanted("an integer from 2 up, auto, or null")


def _existing(kind: str) -> Callable[[Any, ValidationInfo], str]:
    def resolve(value: Any, info: ValidationInfo) -> str:
        if not isinstance(value, str) or not value:
            raise wanted("the name of a file" if kind == "file" else "the name of a folder or of a json file")
        folders = info.context or {"scene": Path(), "shell": Path()}
        folder = folders["shell"] if isinstance(value, ShellText) else folders["scene"]
        path = Path(folder, Path(value).expanduser()).resolve()
        fits = path.is_file() if kind == "file" else path.exists()
        if not fits:
            raise PydanticCustomError("no_file", "{path}", {"path": str(path), "kind": kind, "base": str(folder)})
        return str(path)

    return resolve


Vector = Annotated[tuple[float, float, float], Field(strict=False), BeforeValidator(_three_numbers)]
"""[x, y, z]."""


Box = Annotated[tuple[Vector, Vector], Field(strict=False), AfterValidator(low_to_high)]
"""[[low x, y, z], [high x, y, z]]."""

Sizes = Annotated[Vector, AfterValidator(_all_positive)]
"""[x, y, z], all above zero."""

NonzeroVector = Annotated[Vector, AfterValidator(_nonzero)]
"""[x, y, z], not all zero."""

Color = Annotated[tuple[float, float, float], Field(strict=False), BeforeValidator(_color)]
"""Linear RGB from 0 up: a number for gray, [r, g, b], black or white."""

TargetBackground = Annotated[Color | Literal["random"], BeforeValidator(_target_background)]
"""A colour, or random."""

Albedo = Annotated[tuple[float, float, float], Field(strict=False), BeforeValidator(_albedo)]
"""Linear RGB in 0..1."""

File = Annotated[str, Field(strict=False), BeforeValidator(_existing("file"))]
"""The absolute path of a file that exists; written relative to the scene file."""

FileOrFolder = Annotated[str, Field(strict=False), BeforeValidator(_existing("folder"))]
"""The absolute path of a folder or file that exists; written relative to the scene file."""


def _device(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        return value
    raise wanted("auto, cpu, cuda, or one of several as cuda:1")


Device = Annotated[str, BeforeValidator(_device)]
"""Where to compute."""

Every = Annotated[int | Literal["auto"] | None, BeforeValidator(_every)]
"""An integer from 2 up; auto; or null for never."""

PositiveFloat = Annotated[float, Field(gt=0)]
PositiveInt = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0)]
