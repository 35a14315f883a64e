"""List all options of scene files from the schema, for `diffrender options`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from diffrender.config.options.base import Strict, arms_of, model_of, shape_of
from diffrender.config.schema import FitConfig
from diffrender.config.schema_words import describe, forms
from diffrender.config.yaml_tree import write_flow


@dataclass(frozen=True)
class Option:
    """One key: how it is written, what it accepts, its default, what it means."""

    key: str
    accepts: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Section:
    """The keys of one mapping: the dotted paths where it may be, what it is, its options."""

    places: tuple[str, ...]
    meaning: str
    options: tuple[Option, ...]


def sections(about: str = "") -> list[Section]:
    """Return the mappings of a scene file, each once, outer ones first; only those with `about` in a path."""
    places: dict[type[Strict], list[str]] = {FitConfig: [""]}
    _collect(FitConfig, places)
    found = [
        Section(tuple(where), inspect.getdoc(model) or "", tuple(_options(model))) for model, where in places.items()
    ]
    return [section for section in found if any(about.lower() in place.lower() for place in section.places)]


def _collect(model: type[Strict], places: dict[type[Strict], list[str]]) -> None:
    """Add the mappings below `model` to `places`."""
    start = f"{places[model][0]}." if places[model][0] else ""
    inner = [
        item
        for key, field in model.fields_by_key().items()
        for item in _models(field.rebuild_annotation(), start + key)
    ]
    new = {}
    for place, below in [*inner, *_models(model.extra_kind, f"{start}<path>")]:
        if below not in places:
            new[below] = places[below] = []
        places[below].append(place)
    for below in new:
        _collect(below, places)


def _models(kind: Any, place: str) -> Iterator[tuple[str, type[Strict]]]:
    """Yield the mappings of a type, each with its path and what distinguishes it from the others."""
    shape, model, choice = shape_of(kind), model_of(kind), shape_of(kind).choice
    for tag, arm in arms_of(kind).items():
        told_by = f"{{{choice.key}: {tag}}}" if choice is not None and choice.is_keyed(arm) else f"({tag})"
        yield from _models(arm, f"{place} {told_by}")
    if get_origin(shape.kind) is list:
        yield from _models(get_args(shape.kind)[0], f"{place}[]")
    if model is not None:
        yield place, model


def _options(model: type[Strict]) -> Iterator[Option]:
    for key, field in model.fields_by_key().items():
        accepted = _accepted(field.rebuild_annotation(), field.default is None)
        yield Option(key, " | ".join(accepted), _default(field), field.description or "")
    if model.extra_kind is not None:
        yield Option("<path>", "a number or a mapping", "", "the dotted path of a value, such as mesh.vertices")


def _accepted(kind: Any, is_null: bool) -> list[str]:
    """Return the forms that may be written; `is_null`: null is the default, which needs no mention."""
    model = model_of(kind)
    accepted = forms(kind) if arms_of(kind) else [describe(kind)]
    if model is not None and not arms_of(kind):
        fields = model.fields_by_key()
        shorthands = dict.fromkeys(model.shorthands.values())
        accepted = [*(describe(fields[key].rebuild_annotation()) if key else "true" for key in shorthands), "a mapping"]
    return [*accepted, "null"] if shape_of(kind).is_nullable and not is_null else accepted


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return ""
    if isinstance(field.default, BaseModel):
        return str(getattr(field.default, "type", "{}"))
    return write_flow(list(field.default) if isinstance(field.default, tuple) else field.default)
