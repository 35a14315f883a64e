"""What the schema wants at a place of the scene file, in words."""

from __future__ import annotations

from collections.abc import Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from diffrender.config.options.fields import OneOf, Strict


def type_at(root: type[BaseModel], location: Sequence[str | int]) -> tuple[Any, FieldInfo | None]:
    """The type at one of pydantic's locations (tags included), and the last field on the way there.

    The type is None where the location leaves the schema, as that of an unknown key does.
    """
    kind: Any = root
    field: FieldInfo | None = None
    for part in location:
        kind, choice = split_choice(kind)
        if choice is not None:
            arms = get_args(kind) or (kind,)
            kind = arms[choice.tags.index(str(part)[1:-1])]
        elif (model := model_of(kind)) is not None:
            field = model.model_fields.get(str(part))
            kind = field.rebuild_annotation() if field is not None else getattr(model, "extra_kind", None)
        elif get_origin(kind) is list:
            kind = get_args(kind)[0]
        elif get_origin(kind) is tuple and isinstance(part, int) and part < len(get_args(kind)):
            kind = get_args(kind)[part]
        else:
            return None, field
    return kind, field


def is_tag(part: str | int) -> bool:
    """Whether a part of one of pydantic's locations is the tag of a choice, and no key or index."""
    return isinstance(part, str) and part.startswith("<") and part.endswith(">")


def model_of(kind: Any) -> type[BaseModel] | None:
    """The mapping that a type stands for, if it is one."""
    kind, _ = split_choice(kind)
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def words_of(kind: Any) -> list[str]:
    """The words that may be written there."""
    kind, _ = split_choice(kind)
    return [str(word) for word in get_args(kind)] if get_origin(kind) is Literal else []


def describe(kind: Any) -> str:
    """What may be written there: "an integer from 0 to 8"; empty where there are no words for it."""
    limits = _limits(kind)
    bare, _ = split_choice(kind)
    if get_origin(bare) is Literal:
        words = words_of(bare)
        return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
    if get_origin(bare) is list:
        (item,) = get_args(bare)
        inner = " (" + ", ".join(words_of(item)) + ")" if words_of(item) else ""
        return f"a list{' with an entry or more' if limits else ''}{inner}"
    if get_origin(bare) is tuple:
        return f"a list of {len(get_args(bare))}, each {describe(get_args(bare)[0])}"
    if (model := model_of(bare)) is not None:
        more = " and dotted paths" if issubclass(model, Strict) and model.extra_kind else ""
        return f"a mapping with keys {', '.join(model.model_fields)}{more}"
    names: dict[Any, str] = {int: "an integer", float: "a number", str: "text", bool: "true or false"}
    return names[bare] + (f" {limits}" if limits and bare in (int, float) else "") if bare in names else ""


def split_choice(kind: Any) -> tuple[Any, OneOf | None]:
    """The type without Annotated and without the choice of null; and its OneOf, if it is such a union."""
    choice = None
    while True:
        if get_origin(kind) is Annotated:
            kind, *metadata = get_args(kind)
            choice = next((item for item in metadata if isinstance(item, OneOf)), choice)
        elif choice is None and get_origin(kind) in (Union, UnionType):
            arms = [arm for arm in get_args(kind) if arm is not type(None)]
            if len(arms) != 1:
                return kind, None
            kind = arms[0]
        else:
            return kind, choice


def _limits(kind: Any) -> str:
    """The range that annotations allow: "from 1 up", "above 0", "from 0 to 8"."""
    low = high = None
    for item in _metadata(kind):
        if isinstance(item, annotated_types.Ge):
            low = f"from {_number(item.ge)}"
        elif isinstance(item, annotated_types.Gt):
            low = f"above {_number(item.gt)}"
        elif isinstance(item, annotated_types.Le):
            high = f"to {_number(item.le)}"
        elif isinstance(item, annotated_types.Lt):
            high = f"below {_number(item.lt)}"
        elif isinstance(item, annotated_types.MinLen):
            low = f"from {item.min_length}"
    if low and high:
        return f"{low} {high}" if high.startswith("to") else f"{low} and {high}"
    return f"{low} up" if low and low.startswith("from") else low or high or ""


def _number(limit: Any) -> str:
    return f"{limit:,}" if isinstance(limit, int) else f"{limit:g}"


def _metadata(kind: Any) -> list[Any]:
    """All annotations of a type, those inside of a choice of null included."""
    if get_origin(kind) is Annotated:
        inner, *metadata = get_args(kind)
        flat = [part for item in metadata for part in (item.metadata if isinstance(item, FieldInfo) else [item])]
        return [*_metadata(inner), *flat]
    if get_origin(kind) in (Union, UnionType):
        return [item for arm in get_args(kind) if arm is not type(None) for item in _metadata(arm)]
    return []
