"""The values that a scene file is made of: numbers in a range, vectors, colours, names, files."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from diffrender.config.options.base import Form, is_number, wanted
from diffrender.config.yaml_tree import ShellText

T = TypeVar("T")

PositiveFloat: TypeAlias = Annotated[float, Field(gt=0)]
PositiveInt: TypeAlias = Annotated[int, Field(ge=1)]
Weight: TypeAlias = Annotated[float, Field(ge=0)]
Fraction: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Seed: TypeAlias = Annotated[int, Field(ge=0, le=2**32 - 1)]

Pair: TypeAlias = Annotated[tuple[T, T], Field(strict=False)]
"""Two values in a list."""


def must(be: str, test: Callable[[Any], bool]) -> AfterValidator:
    """Return the validator that refuses a value without `test`; `be` says what it must be."""

    def check(value: Any) -> Any:
        if not test(value):
            raise wanted(be)
        return value

    return AfterValidator(check)


def is_ascending(pair: tuple[Any, Any]) -> bool:
    """Whether the first of two numbers is not above the second."""
    return pair[0] <= pair[1]


def is_numbers(value: Any, count: int) -> bool:
    """Whether `value` is a list of so many finite numbers."""
    is_list = isinstance(value, list | tuple) and len(value) == count
    return is_list and all(is_number(item) and math.isfinite(item) for item in value)


def _three_numbers(value: Any) -> Any:
    if not is_numbers(value, 3):
        raise wanted("three numbers [x, y, z]")
    return tuple(map(float, value))


Vector: TypeAlias = Annotated[
    tuple[float, float, float], BeforeValidator(_three_numbers), Form("three numbers [x, y, z]")
]
NonzeroVector: TypeAlias = Annotated[Vector, must("a direction that is not [0, 0, 0]", any)]
Sizes: TypeAlias = Annotated[Vector, must("three numbers above 0", lambda sizes: min(sizes) > 0)]
Box: TypeAlias = Annotated[
    Pair[Vector],
    must(
        "a box [[low x, y, z], [high x, y, z]] with each low below its high",
        lambda box: all(low < high for low, high in zip(*box, strict=True)),
    ),
    Form("a box [[low x, y, z], [high x, y, z]]"),
]

GRAYS = {"black": 0.0, "white": 1.0}


def _color(value: Any) -> Any:
    if isinstance(value, str):
        value = GRAYS.get(value)
    items: Any = [value] * 3 if is_number(value) else value
    if not (isinstance(items, list | tuple) and len(items) == 3 and all(map(is_number, items))):
        raise wanted("a colour: one number for gray, [red, green, blue], black or white")
    if not all(math.isfinite(item) and item >= 0 for item in items):
        raise wanted("a colour of finite numbers from 0 up")
    return tuple(map(float, items))


def _target_background(value: Any) -> Any:
    try:
        return value if value == "random" else _color(value)
    except PydanticCustomError:
        raise wanted("a colour (one number for gray, [red, green, blue], black or white) or random") from None


def _color_schema(*words: str, **limits: float) -> dict[str, Any]:
    number = {"type": "number", "minimum": 0} | limits
    row = {"type": "array", "items": number, "minItems": 3, "maxItems": 3}
    return {"anyOf": [number, row, {"enum": [*GRAYS, *words]}]}


def _is_color(value: Any) -> bool:
    return is_number(value) or isinstance(value, list) or (isinstance(value, str) and value in GRAYS)


Color: TypeAlias = Annotated[
    tuple[float, float, float], BeforeValidator(_color), Form("a colour", _color_schema(), _is_color)
]
"""Linear RGB from 0 up: a number for gray, [r, g, b], black or white."""

Albedo: TypeAlias = Annotated[
    Color,
    must("a colour between 0 and 1", lambda color: max(color) <= 1),
    Form("a colour", _color_schema(maximum=1), _is_color),
]
"""Linear RGB in 0..1."""

TargetBackground: TypeAlias = Annotated[
    Color | Literal["random"], BeforeValidator(_target_background), Form("a colour or random", _color_schema("random"))
]


def _every(value: Any) -> Any:
    if value in ("auto", None) or (is_number(value) and isinstance(value, int) and value >= 2):
        return value
    raise wanted("an integer from 2 up, auto, or null")


Every: TypeAlias = Annotated[
    int | Literal["auto"] | None,
    BeforeValidator(_every),
    Form(
        "an integer from 2 up, auto, or null",
        {"anyOf": [{"type": "integer", "minimum": 2}, {"enum": ["auto", None]}]},
    ),
]
"""How many views apart; null for never."""


NAME = r"^[^.\s]+$"
Name: TypeAlias = Annotated[
    str, Field(pattern=NAME), Form("a name without dots and spaces", {"type": "string", "pattern": NAME})
]
"""What can be a part of a dotted path."""

DEVICE = r"^(auto|cpu|cuda(:\d+)?)$"
Device: TypeAlias = Annotated[
    str,
    Field(pattern=DEVICE),
    Form("auto, cpu, cuda, or one of several as cuda:1", {"type": "string", "pattern": DEVICE}),
]
"""Where to compute."""


def _existing(kind: str) -> BeforeValidator:
    def resolve(value: Any, info: ValidationInfo) -> str:
        if not isinstance(value, str) or not value:
            raise wanted("the name of a file" if kind == "file" else "the name of a folder or of a json file")
        folders = info.context or {"scene": Path(), "shell": Path()}
        folder = folders["shell"] if isinstance(value, ShellText) else folders["scene"]
        path = Path(folder, Path(value).expanduser()).resolve()
        fits = path.is_file() if kind == "file" else path.exists()
        if not fits:
            raise PydanticCustomError("no_file", "{path}", {"path": str(path), "kind": kind})
        return str(path)

    return BeforeValidator(resolve)


def is_text(value: Any) -> bool:
    """Whether `value` is text."""
    return isinstance(value, str)


File: TypeAlias = Annotated[str, _existing("file"), Form("a file", fits=is_text)]
"""The absolute path of a file that exists; written relative to the scene file."""

ImageFile: TypeAlias = Annotated[File, Form("file.png", fits=is_text)]

FileOrFolder: TypeAlias = Annotated[str, _existing("folder"), Form("a folder or a file", fits=is_text)]
"""The absolute path of a folder or file that exists; written relative to the scene file."""
