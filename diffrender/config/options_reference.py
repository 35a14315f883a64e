"""List all options of scene files from the schema, for `diffrender options`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from diffrender.config.learnable_paths import learnable_paths
from diffrender.config.options.base import Strict, arms_of, model_of, shape_of
from diffrender.config.options.parameters import ParameterOptions
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
    """Return the mappings of a scene file, each once, outer ones first; only those with `about` in a path.

    about: if no path has it, the dotted path of one key, as messages have it: objects.a.material.base_color; "params"
        or "cameras": what `optimize` can name, all of it or of the cameras.
    """
    if about in ("params", "cameras"):
        return [_learnable("" if about == "params" else "cameras.")]
    places: dict[type[Strict], list[str]] = {FitConfig: [""]}
    _collect(FitConfig, places)
    found = [
        Section(tuple(where), inspect.getdoc(model) or "", tuple(_options(model))) for model, where in places.items()
    ]
    named = [section for section in found if any(about.lower() in place.lower() for place in section.places)]
    if named:
        return named
    # A path as messages have it, lights[0].radiance or objects.a.material.base_color; or that of a learned value.
    parts = re.sub(r"\[(\w+)\]", r".\1", about).split(".")
    keys = list(dict.fromkeys(_keys_at(FitConfig, parts)))
    if not keys and parts[0] in (*FitConfig.model_fields, "cameras"):
        keys = [(ParameterOptions, None)]
    return [
        Section(tuple(places[model]), inspect.getdoc(model) or "", tuple(_options(model, key))) for model, key in keys
    ]


def _learnable(start: str) -> Section:
    """Return a section on the paths that begin so."""
    paths = [each for each in learnable_paths() if each.path.startswith(start)]
    options = (Option(each.path, each.of, "learned" if each.is_default else "off", each.meaning) for each in paths)
    return Section(
        ("optimize: paths",),
        "What can be learned, and what has it. Of one of several objects: objects.<name>.mesh.vertices and so on; how:"
        " diffrender options optimize",
        tuple(options),
    )


def _keys_at(kind: Any, parts: Sequence[str]) -> Iterator[tuple[type[Strict], str | None]]:
    """Yield the mappings with the key that a dotted path ends at, and those that its value may be, with None."""
    shape, model, arms = shape_of(kind), model_of(kind), arms_of(kind)
    if get_origin(shape.kind) is list and parts:
        item = get_args(shape.kind)[0]
        # An entry is called by its name, which may be its type, or by its number.
        yield from _keys_at(arms_of(item).get(parts[0], item), parts[1:])
    for arm in arms.values():
        yield from _keys_at(arm, parts)
    if model is None:
        return
    if not parts:
        yield model, None
    elif parts[0] in model.fields_by_key():
        if len(parts) == 1:
            yield model, parts[0]
        yield from _keys_at(model.fields_by_key()[parts[0]].rebuild_annotation(), parts[1:])
    elif (entry := model_of(model.extra_kind)) is not None:
        ends = [index for index, part in enumerate(parts) if part in entry.fields_by_key()]
        yield from _keys_at(entry, parts[ends[-1] :] if ends else ())


def _collect(model: type[Strict], places: dict[type[Strict], list[str]]) -> None:
    """Add the mappings below `model` to `places`."""
    start = f"{places[model][0]}." if places[model][0] else ""
    inner = [
        item
        for key, field in model.fields_by_key().items()
        for item in _models(field.rebuild_annotation(), start + key)
    ]
    new = {}
    for place, below in [*inner, *_models(model.extra_kind, f"{start}{model.extra_words[0]}")]:
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


def _options(model: type[Strict], only: str | None = None) -> Iterator[Option]:
    """Yield the keys of a mapping; `only`: that key alone."""
    for key, field in model.fields_by_key().items():
        if only not in (None, key):
            continue
        accepted = _accepted(field.rebuild_annotation(), field.default is None)
        yield Option(key, " | ".join(accepted), _default(field), field.description or "")
    if model.extra_kind is not None and only is None:
        key, accepted, meaning = model.extra_words
        yield Option(key, accepted, "", meaning)


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
