"""Building blocks of options: strict mappings with shorthands, unions distinguished by form, metadata of types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError
from typing_extensions import Self

from diffrender.config.yaml_tree import Location


class Finding(NamedTuple):
    """A mistake in values that are valid one by one: location, message, hints."""

    location: Location
    message: str
    notes: tuple[str, ...] = ()


def refuse(findings: Iterable[Finding]) -> None:
    """Raise the findings, if any, for pydantic; their locations start at the value that is being validated."""
    errors = [
        InitErrorDetails(type=PydanticCustomError("rule", "{message}", found._asdict()), loc=found.location, input=None)
        for found in findings
    ]
    if errors:
        raise ValidationError.from_exception_data("rule", errors)


def is_number(value: Any) -> bool:
    """Return whether `value` is an int or a float, and not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_off(entry: Any) -> bool:
    """Return whether an entry of `optimize:` switches the value off; null, after a key alone, means the defaults."""
    return entry is False or entry == "off"


class Strict(BaseModel):
    """Base of all mappings in a scene file: no unknown keys, no silent conversions, no infinities; frozen.

    shorthands: the key that a bare value of a type sets. With {str: "type"}, `image: l1` is `image: {type: l1}`;
        with {float: "weight"}, `mask: 1` is `mask: {weight: 1}`; with {bool: ""}, `shadow: true` is `shadow: {}`.
    extra_kind: type of the values under keys that are not fields, if such keys are allowed.
    writes_nulls: whether a null that a file gives differs from no entry at all, although it is the field's default.
    """

    shorthands: ClassVar[Mapping[type, str]] = {}
    extra_kind: ClassVar[type[BaseModel] | None] = None
    writes_nulls: ClassVar[bool] = False

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    def __init_subclass__(cls, shorthands: Mapping[type, str] | None = None, **config: Any):
        super().__init_subclass__(**config)
        cls.shorthands = {**cls.shorthands, **(shorthands or {})}

    @classmethod
    def fields_by_key(cls) -> dict[str, FieldInfo]:
        """Return the fields by the keys that a scene file has for them."""
        return {field.alias or name: field for name, field in cls.model_fields.items()}

    def entries(self) -> dict[str, Any]:
        """Return all values by key, those under keys that are not fields included."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return dict(zip(self.fields_by_key(), values, strict=True)) | (self.model_extra or {})

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Return the mapping that a shorthand or null is short for; anything else unchanged."""
        # A key whose lines are all commented out is null in YAML; users expect the defaults.
        if value is None:
            return {}
        for kind, key in cls.shorthands.items():
            if is_number(value) if kind is float else isinstance(value, kind):
                return {key: value} if key else {}
        return value

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, value: Any) -> Any:
        return cls.expand(value)

    def rules(self) -> Iterator[Finding]:
        """Yield mistakes in the combination of values."""
        yield from ()

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        refuse(self.rules())
        return self


def option(default: Any, description: str, **more: Any) -> Any:
    """Return the field of an option that may be omitted; `more`: limits and others, as for pydantic's Field."""
    return Field(default=default, description=description, **more)


@dataclass(frozen=True, eq=False)
class Form:
    """Metadata of a type with its own form of values.

    words: description of the form.
    schema: its JSON schema; None: that of the bare type.
    fits: whether a value has this form, valid or not; None: if it is text or a list like the bare type.
    """

    words: str
    schema: Mapping[str, Any] | None = None
    fits: Callable[[Any], bool] | None = None


@dataclass(frozen=True)
class OneOf:
    """Metadata of a union, Annotated[A | B, OneOf(...)]: a value means the first arm whose form it has.

    key: the key that distinguishes mappings, for arms with such a key; others are recognised by their first key.
    otherwise: the arm of mappings without `key`, and of null and shorthands without a word.

    Locations of errors hold the tag of the arm in angle brackets, which no key of a scene file has.
    """

    key: str = ""
    otherwise: str | None = None

    def arms(self, union: Any) -> dict[str, Any]:
        """Return the arms of `union` by tag: the word under `key`, the first key, or the position."""
        kinds = get_args(union) if get_origin(union) in (Union, UnionType) else (union,)
        return {self._tag(kind) or str(position): kind for position, kind in enumerate(kinds)}

    def is_keyed(self, kind: Any) -> bool:
        """Return whether mappings of this arm are distinguished by `key`."""
        model = model_of(kind)
        return model is not None and self.key in model.model_fields

    def _tag(self, kind: Any) -> str:
        model = model_of(kind)
        return "" if model is None else next(iter(self._words(model)), self._key(model))

    def _key(self, model: type[Strict]) -> str:
        return self.key if self.key in model.model_fields else next(iter(model.model_fields))

    def _words(self, model: type[Strict]) -> list[str]:
        return words_of(model.model_fields[self._key(model)].annotation)

    def pick(self, arms: Mapping[str, Any], value: Any) -> str | None:
        """Return the tag of the arm that `value` means, or None."""
        fitting = next((tag for tag, kind in arms.items() if self._has_form(kind, value)), None)
        if fitting is not None or self.otherwise is None:
            return fitting
        expanded = arms[self.otherwise].expand(value)
        return self.otherwise if isinstance(expanded, dict) and self.key not in expanded else None

    def _has_form(self, kind: Any, value: Any) -> bool:
        shape, model = shape_of(kind), model_of(kind)
        if model is not None:
            written = model.expand(value) if isinstance(value, str) else value
            if not isinstance(written, dict) or self._key(model) not in written:
                return isinstance(value, model)
            return not self._words(model) or written[self._key(model)] in self._words(model)
        if shape.form is not None and shape.form.fits is not None:
            return shape.form.fits(value)
        if words_of(kind):
            return value in words_of(kind)
        bare = get_origin(shape.kind) or shape.kind
        return isinstance(value, bare) if bare in (str, list) else is_number(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        arms = self.arms(source)
        tagged = tuple(Annotated[kind, Tag(f"<{tag}>")] for tag, kind in arms.items())

        def choose(value: Any) -> str | None:
            tag = self.pick(arms, value)
            return None if tag is None else f"<{tag}>"

        # pydantic's own error would list the tags; `pydantic_errors` describes the forms instead.
        pick = Discriminator(choose, custom_error_type="choice", custom_error_message="no such form")
        return handler.generate_schema(Annotated[Union[tagged], pick])  # type: ignore[valid-type]  # noqa: UP007


class Shape(NamedTuple):
    """A type without Annotated and the alternative null around it.

    kind: the bare type, or a union of several.
    form, choice: how values are written, and how the arms of the union are distinguished, if annotated.
    limits: those of annotated_types and pydantic, by name.
    """

    kind: Any
    is_nullable: bool
    form: Form | None
    choice: OneOf | None
    limits: dict[str, Any]


# Names of limits in annotated_types and pydantic, and in JSON schemas.
LIMITS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "min_length": "minItems",
    "pattern": "pattern",
}


def shape_of(kind: Any) -> Shape:
    """Return the Shape of a type."""
    metadata: list[Any] = []  # outermost first
    is_nullable = False
    while get_origin(kind) is Annotated or type(None) in get_args(kind):
        if get_origin(kind) is Annotated:
            kind, *outer = get_args(kind)
            for item in reversed(outer):
                metadata += item.metadata if isinstance(item, FieldInfo) else [item]
        else:
            is_nullable = True
            kind = Union[tuple(arm for arm in get_args(kind) if arm is not type(None))]  # noqa: UP007
    limits = {
        name: getattr(item, name) for item in metadata for name in LIMITS if getattr(item, name, None) is not None
    }
    form = next((item for item in metadata if isinstance(item, Form)), None)
    choice = next((item for item in metadata if isinstance(item, OneOf)), None)
    return Shape(kind, is_nullable, form, choice, limits)


def arms_of(kind: Any) -> dict[str, Any]:
    """Return the arms of a union with a OneOf by tag."""
    shape = shape_of(kind)
    return {} if shape.choice is None else shape.choice.arms(shape.kind)


def model_of(kind: Any) -> type[Strict] | None:
    """Return the mapping that a type is, if it is one."""
    kind = shape_of(kind).kind
    return kind if isinstance(kind, type) and issubclass(kind, Strict) else None


def words_of(kind: Any) -> list[Any]:
    """Return the words or numbers that may be written, if the type is a choice of such."""
    kind = shape_of(kind).kind
    return list(get_args(kind)) if get_origin(kind) is Literal else []
