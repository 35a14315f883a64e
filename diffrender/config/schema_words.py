"""Find the type that the schema accepts at a position of the scene file, and describe it in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from diffrender.config.options.base import Strict, arms_of, model_of, shape_of, words_of


def type_at(root: type[Strict], location: Sequence[str | int]) -> tuple[Any, FieldInfo | None]:
    """Return the type at one of pydantic's locations (tags included), and the last field on the way there.

    The type is None if the location is not in the schema, as for an unknown key.
    """
    kind: Any = root
    field: FieldInfo | None = None
    for part in location:
        model = model_of(kind)
        field = field if model is None else model.fields_by_key().get(str(part))
        kind = type_below(kind, part)
    return kind, field


def type_below(kind: Any, part: str | int) -> Any:
    """Return the type under a key, at an index, or of the arm with a tag; None if there is no such thing."""
    shape, model = shape_of(kind), model_of(kind)
    if shape.choice is not None:
        return arms_of(kind).get(str(part)[1:-1])
    if model is not None:
        field = model.fields_by_key().get(str(part))
        return model.extra_kind if field is None else field.rebuild_annotation()
    items = get_args(shape.kind)
    if get_origin(shape.kind) is list:
        return items[0]
    return items[part] if get_origin(shape.kind) is tuple and isinstance(part, int) and part < len(items) else None


def type_of_value(kind: Any, value: Any) -> Any:
    """Return the type that `value` means where `kind` is accepted: the arm of a union, or `kind` itself."""
    choice = shape_of(kind).choice
    return kind if choice is None else arms_of(kind).get(choice.pick(arms_of(kind), value) or "")


def is_tag(part: str | int) -> bool:
    """Return whether a part of one of pydantic's locations is the tag of an arm, and not a key or index."""
    return isinstance(part, str) and part.startswith("<") and part.endswith(">")


def either(words: Sequence[str]) -> str:
    """Return "a, b or c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def forms(kind: Any) -> list[str]:
    """Return how values of a type are written, each form once: "l1", "a colour", "{vertex: a colour}"."""
    shape, model = shape_of(kind), model_of(kind)
    if shape.form is not None:
        return [shape.form.words]
    if shape.choice is not None:
        is_keyed = shape.choice.is_keyed
        return [form for tag, arm in arms_of(kind).items() for form in ([tag] if is_keyed(arm) else forms(arm))]
    if model is not None:
        key, field = next(iter(model.fields_by_key().items()))
        inner = forms(field.rebuild_annotation())
        return inner if model.shorthands.get(str) == key else [f"{{{key}: {form}}}" for form in inner if form[0] != "{"]
    if get_origin(shape.kind) is tuple:
        return [f"[{', '.join(describe(item) for item in get_args(shape.kind))}]"]
    return list(map(str, words_of(kind))) or [describe(kind)]


def describe(kind: Any) -> str:
    """Describe what may be written: "an integer from 0 to 8"; empty if there are no words for it."""
    shape, model = shape_of(kind), model_of(kind)
    if shape.form is not None or shape.choice is not None or words_of(kind):
        return either(forms(kind))
    if model is not None:
        keys = [", ".join(model.fields_by_key()), model.extra_words[0]]
        return f"a mapping with keys {' and '.join(filter(None, keys))}"
    if get_origin(shape.kind) is list:
        words = words_of(get_args(shape.kind)[0])
        return (
            "a list"
            + (" with an entry or more" if shape.limits else "")
            + (f" ({', '.join(map(str, words))})" if words else "")
        )
    if get_origin(shape.kind) is tuple:
        return f"a list of {len(get_args(shape.kind))}, each {describe(get_args(shape.kind)[0])}"
    names: dict[Any, str] = {int: "an integer", float: "a number", str: "text", bool: "true or false"}
    return " ".join(filter(None, (names.get(shape.kind, ""), _range(shape.limits))))


def _range(limits: dict[str, float]) -> str:
    """Return "of at least 1", "above 0", "from 0 to 8", "above 0 and below 180"."""
    words = {"ge": "from", "gt": "above", "le": "to" if "ge" in limits else "and at most", "lt": "and below"}
    if list(limits) == ["ge"]:
        words["ge"] = "of at least"
    return " ".join(f"{word} {_number(limits[name])}" for name, word in words.items() if name in limits)


def _number(limit: float) -> str:
    return f"{limit:,}" if isinstance(limit, int) else f"{limit:g}"
