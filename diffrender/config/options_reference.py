"""All that a scene file may hold, from the schema itself: what `diffrender options` shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from diffrender.config.options.fields import Strict
from diffrender.config.schema import FitConfig
from diffrender.config.schema_words import describe, model_of, split_choice


@dataclass(frozen=True)
class Option:
    """One key: how it is written, what it wants, its default, what it means."""

    key: str
    wanted: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Section:
    """The keys of one mapping. place: its dotted path, and which of several forms. meaning: what it is."""

    place: str
    meaning: str
    options: tuple[Option, ...]


def sections(about: str = "") -> list[Section]:
    """The mappings of a scene file, each once, outer ones first; only those whose place holds `about`."""
    found = [Section("", FitConfig.__doc__ or "", tuple(_options(FitConfig)))]
    found += _below(FitConfig, "", {FitConfig})
    return [section for section in found if about.lower() in section.place.lower()]


def _options(model: type[BaseModel]) -> Iterator[Option]:
    for key, field in model.model_fields.items():
        kind = field.rebuild_annotation()
        _, choice = split_choice(kind)
        wanted = " | ".join(choice.known) if choice is not None else describe(kind)
        yield Option(
            key, "a mapping" if wanted.startswith("a mapping") else wanted, _default(field), field.description or ""
        )
    if issubclass(model, Strict) and model.extra_kind is not None:
        yield Option("<path>", "a number or a mapping", "", "the dotted path of a value, as mesh.vertices")


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "" if field.default_factory is None else "..."
    default = field.default
    if isinstance(default, BaseModel):
        return str(getattr(default, "type", "{}"))
    if default is None or isinstance(default, bool):
        return {None: "null", True: "true", False: "false"}[default]
    return str(list(default) if isinstance(default, tuple) else default)


def _below(model: type[BaseModel], place: str, seen: set[type[BaseModel]]) -> Iterator[Section]:
    inner: list[tuple[str, type[BaseModel]]] = []
    for key, field in model.model_fields.items():
        inner += _models(field.rebuild_annotation(), f"{place}.{key}" if place else key)
    if issubclass(model, Strict) and model.extra_kind is not None:
        inner.append((f"{place}.<path>", model.extra_kind))
    for where, each in inner:
        if each not in seen:
            seen.add(each)
            yield Section(where, (each.__doc__ or "").strip(), tuple(_options(each)))
            yield from _below(each, where, seen)


def _models(kind: Any, place: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """The mappings that may stand at a place, with what tells them from one another."""
    kind, choice = split_choice(kind)
    if choice is not None:
        for tag, arm in zip(choice.tags, get_args(kind) or (kind,), strict=True):
            yield from _models(arm, f"{place} {{{choice.key}: {tag}}}" if choice.key else f"{place} ({tag})")
    elif get_origin(kind) is list:
        yield from _models(get_args(kind)[0], f"{place}[]")
    elif (model := model_of(kind)) is not None:
        yield place, model
