"""Apply values from the command line to a scene file's tree, as if they had been written there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, get_origin

from diffrender.config.format_mistakes import Diagnostic, MistakeError, SourceSpan, did_you_mean
from diffrender.config.options.base import arms_of, model_of, shape_of
from diffrender.config.options.value_types import HEXADECIMAL
from diffrender.config.pydantic_errors import format_path
from diffrender.config.schema import FitConfig
from diffrender.config.schema_words import type_below, type_of_value
from diffrender.config.untyped_config import item_name
from diffrender.config.yaml_tree import Location, ShellText, Tree, read_scalar_or_flow, write_flow


@dataclass(frozen=True)
class Override:
    """One value from the command line.

    key: dotted path, such as `optimize.steps` or `lights.key.direction`; list items by their name or index.
    value: the value, as YAML; None if it was omitted.
    option: the option that set it, for messages: "--set", "--seed".
    """

    key: str
    value: str | None
    option: str = "--set"

    @classmethod
    def parse(cls, text: str) -> Override:
        """Return the override that `--set text` means; a missing `=` is reported when it is applied."""
        key, equals, value = text.partition("=")
        return cls(key.strip(), value if equals else None)

    def place_of_key(self) -> SourceSpan:
        """Return where the key is on the command line."""
        start = len(self.option) + 1
        if self.option == "--set":
            return SourceSpan(self.option, 0, start + 1, self._shown(), max(len(self.key), 1))
        return SourceSpan(self.option, 0, 1, self._shown(), len(self.option))

    def place_of_value(self) -> SourceSpan:
        """Return where the value is on the command line."""
        shown = self._shown()
        width = len(self.value or "")
        return SourceSpan(self.option, 0, len(shown) - width + 1, shown, max(width, 1))

    def _shown(self) -> str:
        if self.value is None:
            return f"{self.option} {self.key}"
        return f"{self.option} {self.key}={self.value}" if self.option == "--set" else f"{self.option} {self.value}"


def apply_override(tree: Tree, override: Override) -> None:
    """Put the override into `tree`; if it cannot be placed, it becomes a mistake there."""
    try:
        if override.value is None or not override.key:
            raise _misplaced(override, "must be key=value", "for example: --set optimize.steps=200")
        # Messages say lights[0] of what has no name.
        parts = re.sub(r"\[(\d+)\]", r".\1", override.key).split(".")
        if not all(parts):
            raise _misplaced(override, "the key has an empty part", "separate names by single dots")
        try:
            # To YAML, # begins a comment.
            is_color = re.match(HEXADECIMAL, override.value.strip()) is not None
            value = _from_shell(override.value.strip() if is_color else read_scalar_or_flow(override.value))
        except MistakeError as error:
            raise MistakeError(Diagnostic(override.place_of_value(), error.mistake.message)) from None
        _put(tree, parts, value, override)
    except MistakeError as error:
        tree.mistakes.append(error.mistake)


def _misplaced(override: Override, message: str, *notes: str) -> MistakeError:
    return MistakeError(Diagnostic(override.place_of_key(), message, notes))


def _put(tree: Tree, parts: list[str], value: Any, override: Override) -> None:
    """Walk down the tree and the schema along `parts`, and put `value` there."""
    location: Location = ()
    parent: Any = {} if tree.data is None else tree.data
    tree.data = parent
    kind: Any = FitConfig
    while True:
        key, n_parts = _step(parent, location, parts, kind, override)
        location, parts = (*location, key), parts[n_parts:]
        if not parts:
            before = parent.get(key) if isinstance(parent, dict) else parent[key]  # type: ignore[index]
            return _assign(tree, parent, location, _merge(type_below(kind, key), before, value), override)
        child: Any = parent[key] if isinstance(parent, list) else parent.get(key)  # type: ignore[index]
        kind = type_below(kind, key)
        where = format_path(location, tree.data)
        if child is None and get_origin(shape_of(kind).kind) is list:
            message = f"the file has no list `{where}` that could hold `{parts[0]}`"
            raise _misplaced(override, message, f"set the whole list: --set '{where}=[{{...}}]'")
        other = _other_form(kind, child, parts[0])
        if other is not None:
            kind, child = other, None
        # Expand a shorthand, so that a key can be added to it.
        kind = type_of_value(kind, child)
        model = model_of(kind)
        expanded = {} if child is None else child if model is None else model.expand(child)
        if expanded is not child:
            _assign(tree, parent, location, expanded, override)
        if not isinstance(expanded, dict | list):
            message = f"`{where}` is the plain value `{write_flow(expanded)}`, which has no `{parts[0]}`"
            raise _misplaced(override, message, f"set the whole value: --set '{where}={{...}}'")
        parent = expanded


def _other_form(kind: Any, child: Any, key: str) -> Any:
    """Return the form of the union `kind` that `key` begins, if `child` has another: texture over {vertex: ...}."""
    choice, arms = shape_of(kind).choice, arms_of(kind)
    if choice is None or child is None:
        return None
    arm, now = arms.get(key), type_of_value(kind, child)
    if arm is not None and not choice.is_keyed(arm):
        return None if arm is now else arm
    return kind if key == choice.key and now is not None and not choice.is_keyed(now) else None


def _merge(kind: Any, before: Any, value: Any) -> Any:
    """Return `value`, or the mapping `before` with what `value` is short for: `huber` over {type: l1, weight: 2}.

    Options that the new type does not have are left out.
    """
    model = model_of(type_of_value(kind, value))
    short = None if model is None or value is None else model.expand(value)
    if model is None or not isinstance(before, dict) or isinstance(value, dict) or not isinstance(short, dict):
        return value
    is_same = model is model_of(type_of_value(kind, before))
    if not is_same and not set(short) <= set(before):
        return value
    return {key: old for key, old in before.items() if key in model.fields_by_key()} | short


def _step(parent: Any, location: Location, parts: list[str], kind: Any, override: Override) -> tuple[str | int, int]:
    """Return the key or index of the next level below `parent`, and how many parts of the dotted key it takes."""
    if isinstance(parent, list):
        return _index(parent, location, parts[0], override), 1
    for count in range(len(parts), 0, -1):
        if ".".join(parts[:count]) in parent:
            return ".".join(parts[:count]), count
    entry = model_of(getattr(kind, "extra_kind", None))
    if entry is None:
        return parts[0], 1
    # Dotted names end at the options of their values: `optimize.mesh.vertices.lr` is the option lr of `mesh.vertices`.
    options = entry.fields_by_key()
    ends = [i for i, part in enumerate(parts) if part in options and i > 0]
    count = ends[-1] if ends else len(parts)
    return ".".join(parts[:count]), count


def _index(items: list[Any], location: Location, part: str, override: Override) -> int:
    names = [item_name(item) for item in items]
    if part in names:
        return names.index(part)
    if part.isdigit() and int(part) < len(items):
        return int(part)
    known = [name for name in names if name is not None]
    entries = f"{', '.join(known)}, or an index" if known else "an index"
    suggestion = did_you_mean(part, known)
    message = f"`{'.'.join(map(str, location))}` has no entry `{part}`; must be {entries} below {len(items)}"
    raise _misplaced(override, message, *([suggestion] if suggestion else []))


def _assign(tree: Tree, parent: Any, location: Location, value: Any, override: Override) -> None:
    parent[location[-1]] = value
    for places in (tree.keys, tree.values):
        for stale in [other for other in places if other[: len(location)] == location]:
            del places[stale]
    # What has no value is as in the file: `--set key=` is `key:`.
    tree.blank = {other for other in tree.blank if other[: len(location)] != location}
    if not override.value:
        tree.blank.add(location)
    tree.keys[location] = override.place_of_key()
    tree.values[location] = override.place_of_value()


def _from_shell(value: Any) -> Any:
    if isinstance(value, str):
        return ShellText(value)
    if isinstance(value, list):
        return [_from_shell(item) for item in value]
    return {key: _from_shell(item) for key, item in value.items()} if isinstance(value, dict) else value
