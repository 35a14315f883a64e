"""Types of values in scene files: numbers in a range, vectors, colours, names, files."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from diffrender.config.options.base import Form, is_number
from diffrender.config.yaml_tree import ShellText

T = TypeVar("T")

PositiveFloat: TypeAlias = Annotated[float, Field(gt=0)]
PositiveInt: TypeAlias = Annotated[int, Field(ge=1)]
Weight: TypeAlias = Annotated[float, Field(ge=0)]
Fraction: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Seed: TypeAlias = Annotated[int, Field(ge=0, le=2**32 - 1)]


# Metadata of a Fixed.
NOT_LEARNED = "not learned"
Fixed: TypeAlias = Annotated[T, NOT_LEARNED]
"""An option of a material or a light that cannot be learned."""

Pair: TypeAlias = Annotated[tuple[T, T], Field(strict=False)]
"""Two values in a list."""


def expected(what: str) -> PydanticCustomError:
    """Return the error of an invalid value; `what` describes what it must be."""
    return PydanticCustomError("expected", "{what}", {"what": what})


def must(be: str, test: Callable[[Any], bool]) -> AfterValidator:
    """Return a validator that rejects values that fail `test`; `be` describes what they must be."""

    def check(value: Any) -> Any:
        if not test(value):
            raise expected(be)
        return value

    return AfterValidator(check)


def _three_numbers(value: Any) -> Any:
    is_triple = isinstance(value, list | tuple) and len(value) == 3
    if not (is_triple and all(is_number(item) and math.isfinite(item) for item in value)):
        raise expected("three numbers [x, y, z]")
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

HEXADECIMAL = "^#[0-9a-fA-F]{6}$"
GRAYS = {"black": 0.0, "white": 1.0}


def _color(value: Any) -> Any:
    if isinstance(value, str):
        value = _linear(value) if re.match(HEXADECIMAL, value) else GRAYS.get(value)
    items: Any = [value] * 3 if is_number(value) else value
    if not (isinstance(items, list | tuple) and len(items) == 3 and all(map(is_number, items))):
        raise expected('a colour: one number for gray, [red, green, blue], "#rrggbb", black or white')
    if not all(math.isfinite(item) and item >= 0 for item in items):
        raise expected("a colour of finite numbers of at least 0")
    return tuple(map(float, items))


def _linear(hexadecimal: str) -> tuple[float, ...]:
    """Return linear RGB of "#rrggbb" in sRGB (IEC 61966-2-1)."""
    encoded = [int(hexadecimal[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    return tuple(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in encoded)


def _color_form(**limits: float) -> Form:
    number = {"type": "number", "minimum": 0} | limits
    row = {"type": "array", "items": number, "minItems": 3, "maxItems": 3}
    schema = {"anyOf": [number, row, {"enum": list(GRAYS)}, {"type": "string", "pattern": HEXADECIMAL}]}

    def has_form(value: Any) -> bool:
        is_name = isinstance(value, str) and (value in GRAYS or re.match(HEXADECIMAL, value) is not None)
        return isinstance(value, list) or is_number(value) or is_name

    return Form("a colour", schema, has_form)


Color: TypeAlias = Annotated[tuple[float, float, float], BeforeValidator(_color), _color_form()]
"""Linear RGB from 0 up: a number for gray, [r, g, b], black or white; or "#rrggbb" in sRGB."""

Albedo: TypeAlias = Annotated[
    Color, must("a colour between 0 and 1", lambda color: max(color) <= 1), _color_form(maximum=1)
]
"""Linear RGB in 0..1."""

Backdrop: TypeAlias = Annotated[
    Color, must('a colour of at most 100; in hexadecimal it is "#rrggbb", in quotes', lambda color: max(color) <= 100)
]
"""Linear RGB behind a scene; six digits of a hexadecimal colour are no number."""

Name: TypeAlias = Annotated[
    str,
    Field(pattern=r'^[^.\s/\\:*?"<>|]{1,60}$'),
    Form('a name of up to 60 characters without spaces, dots and any of / \\ : * ? " < > |'),
]
"""A name that can be part of a dotted path and of the name of a file."""

Device: TypeAlias = Annotated[
    str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$"), Form("auto, cpu, cuda, or cuda:1 for one of several")
]
"""Where to compute."""


def _existing(kind: str) -> BeforeValidator:
    def resolve(value: Any, info: ValidationInfo) -> str:
        if not isinstance(value, str) or not value:
            raise expected("the name of a file" if kind == "file" else "the name of a folder or of a json file")
        folders = info.context or {"scene": Path(), "shell": Path()}
        folder = folders["shell"] if isinstance(value, ShellText) else folders["scene"]
        path = Path(os.path.realpath(os.path.join(folder, os.path.expanduser(value))))
        fits = path.is_file() if kind == "file" else path.exists()
        if not fits:
            raise PydanticCustomError("no_file", "{path}", {"path": str(path), "kind": kind})
        return str(path)

    return BeforeValidator(resolve)


File: TypeAlias = Annotated[str, _existing("file"), Form("a file")]
"""The absolute path of a file that exists; written relative to the scene file."""

ImageFile: TypeAlias = Annotated[File, Form("file.png")]

FileOrFolder: TypeAlias = Annotated[str, _existing("folder"), Form("a folder or a file")]
"""The absolute path of a folder or file that exists; written relative to the scene file."""
