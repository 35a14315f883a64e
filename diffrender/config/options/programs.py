"""A program whose results are values of the scene, and its parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic import BaseModel, BeforeValidator, Field

from diffrender.config.options.base import Finding, Form, Strict, is_number, option
from diffrender.config.options.value_types import File, Pair, PositiveFloat, PositiveInt, expected

# The argument that is the time of each view.
TIME = "time"
SCALAR_SCHEMA = {"type": "number"}


def _numbers(value: Any) -> Any:
    if is_number(value):
        return float(value)
    if not (isinstance(value, list | tuple) and value and all(map(is_number, value))):
        raise expected("a number, or a list of numbers")
    return tuple(map(float, value))


Numbers: TypeAlias = Annotated[
    float | tuple[float, ...],
    BeforeValidator(_numbers),
    Form(
        "a number or numbers",
        {"anyOf": [SCALAR_SCHEMA, {"type": "array", "items": SCALAR_SCHEMA, "minItems": 1}]},
        lambda value: is_number(value) or isinstance(value, list),
    ),
]


class ProgramParameter(Strict, shorthands={float: "value", list: "value"}):
    """A number, or a list of numbers, that is learned of a program; `optimize: {program.<name>: ...}` says how."""

    value: Numbers = Field(description="its start")
    range: Pair[float] | None = option(
        None, "the lowest and the highest value; if omitted: that of RANGES in the file, or any number"
    )
    unit: str | None = option(None, "for reports: m, 1/s")

    def rules(self) -> Iterator[Finding]:
        """Yield a range that is empty, and a value outside it."""
        if self.range is None:
            return
        low, high = self.range
        if low >= high:
            yield Finding(("range",), f"the range {low:g} to {high:g} is empty", ("write the lower bound first",))
            return
        values = self.value if isinstance(self.value, tuple) else (self.value,)
        outside = [value for value in values if not low <= value <= high]
        if outside:
            message = f"the value {outside[0]:g} is not in the range {low:g} to {high:g}"
            yield Finding(("value",), message, ("change one of the two",))


class ProgramParameters(Strict, extra="allow"):
    """The parameters of a program by the names of its function's arguments."""

    extra_kind: ClassVar[type[BaseModel] | None] = ProgramParameter
    extra_words: ClassVar[tuple[str, str, str]] = ("<name>", "a number, numbers or a mapping", "an argument")
    __pydantic_extra__: dict[str, ProgramParameter] = Field(init=False)

    def by_name(self) -> dict[str, ProgramParameter]:
        """Return the parameters by name."""
        return dict(self.__pydantic_extra__ or {})

    def rules(self) -> Iterator[Finding]:
        """Yield names that an argument cannot have."""
        yield from _names_of_arguments(self.by_name(), "parameter")


class AnnealedNumber(Strict, shorthands={list: "values"}):
    """A number that is not learned, but goes from one value to another by the same factor at each step."""

    values: Pair[PositiveFloat] = Field(description="the first and the last, which counts in scores and pictures")
    until: PositiveInt | None = option(None, "the first step with the last value; if omitted: half of the steps")


class AnnealedNumbers(Strict, extra="allow"):
    """Numbers that fall during the fit, such as the temperatures of `relaxed` choices, by the names of arguments."""

    extra_kind: ClassVar[type[BaseModel] | None] = AnnealedNumber
    extra_words: ClassVar[tuple[str, str, str]] = ("<name>", "[first, last] or a mapping", "an argument")
    __pydantic_extra__: dict[str, AnnealedNumber] = Field(init=False)

    def by_name(self) -> dict[str, AnnealedNumber]:
        """Return the numbers by name."""
        return dict(self.__pydantic_extra__ or {})

    def rules(self) -> Iterator[Finding]:
        """Yield names that an argument cannot have."""
        yield from _names_of_arguments(self.by_name(), "annealed number")


def _names_of_arguments(names: Iterable[str], what: str) -> Iterator[Finding]:
    for name in names:
        if name == TIME:
            yield Finding((name,), f"`time` is the time of each view, and no {what}", ("rename it",))
        elif not name.isidentifier():
            yield Finding((name,), f"`{name}` cannot be the name of an argument in Python", ("rename it",))


class ProgramOptions(Strict):
    """A Python function that values of the scene follow from: with loops, conditions, solvers. It runs with all rights
    of the user, as any program does; --no-programs refuses to.
    """

    file: Annotated[File, Form("a Python file")] = Field(description="the Python file")
    function: str = Field(
        description="a function in it, of the parameters and, if it has an argument `time`, of the times of all views;"
        " it returns values by dotted path, of the shape in the scene or with one row per time:"
        " {'objects.bob.position': ...}"
    )
    parameters: ProgramParameters = option(ProgramParameters(), "its parameters by name")
    anneal: AnnealedNumbers = option(
        AnnealedNumbers(), "numbers that it also takes and that fall during the fit: {temperature: [1, 0.01]}"
    )
    checkpoint_every: PositiveInt | None = option(
        None,
        "steps of a `checkpointed_loop` that are in memory at a time; if omitted: the square root of all, which needs"
        " the least",
    )
    sha256: str | None = option(
        None,
        "hash of the file and of the modules in its folder that it imports, not of data that it reads; with another it"
        " is refused; scene.resolved.yaml has it",
    )

    def rules(self) -> Iterator[Finding]:
        """Yield names that are both learned and annealed."""
        for name in self.anneal.by_name().keys() & self.parameters.by_name().keys():
            yield Finding(("anneal", name), f"`{name}` is a parameter, which is learned", ("keep one of the two",))
