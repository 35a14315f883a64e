"""What pydantic found wrong, as sentences at places of the scene file."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from diffrender.config.diagnostics import Diagnostic, SourceSpan, did_you_mean
from diffrender.config.options.fields import is_number
from diffrender.config.overrides import ShellText
from diffrender.config.schema_words import describe, is_tag, model_of, type_at, words_of
from diffrender.config.untyped_config import as_mapping, optimizable_paths
from diffrender.config.yaml_tree import Location, Tree, read_scalar_or_flow

MINIMAL_FILE = "the shortest scene file: `targets: {path: folder_with_transforms_json}`"


def to_diagnostic(error: ErrorDetails, root: type[BaseModel], tree: Tree, source: str) -> Diagnostic:
    """The mistake that one of pydantic's errors stands for.

    error: an entry of ValidationError.errors() of the model `root` on tree.data.
    source: the scene file's name.
    """
    location = tuple(part for part in error["loc"] if not is_tag(part))
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    schema, field = type_at(root, error["loc"])
    if kind == "missing":
        return _missing(location, field, tree, source)
    if kind == "extra_forbidden":
        parent, _ = type_at(root, error["loc"][:-1])
        return _unknown_key(location, model_of(parent), tree, source)
    if kind == "no_file":
        return _no_file(location, value, context, tree, source)
    if kind == "choice":
        return _no_such_form(location, value, context, tree, source)
    what = str(context["what"]) if kind == "wanted" else describe(schema) or error["msg"]
    as_a_list = ["put `[ ]` around it, or `- ` before each entry"] if kind == "list_type" and value is not None else []
    notes = [*as_a_list, *_hints(value, words_of(schema)), *_about(location, field)]
    message = f"{_format_value(location, tree)} is {describe_input(value)}; wanted {what}"
    return Diagnostic(span_of(location, tree, source), message, tuple(notes))


def span_of(location: Location, tree: Tree, source: str, key: bool = False) -> SourceSpan:
    """Where the value (or with `key` the key) at `location` stands, or else the nearest thing around it."""
    if key and location in tree.keys:
        return tree.keys[location]
    for end in range(len(location), 0, -1):
        if location[:end] in tree.values:
            return tree.values[location[:end]]
    return SourceSpan(source, 1, 1, "")


def format_path(location: Location, tree: Tree) -> str:
    """The dotted path for messages: list items by their name where they have one, as `lights.key.radiance`."""
    path, data = "", tree.data
    for part in location:
        if isinstance(part, int):
            item = data[part] if isinstance(data, list) and part < len(data) else None
            name = item.get("name") if isinstance(item, dict) else None
            path += f".{name}" if isinstance(name, str) else f"[{part}]"
            data = item
        else:
            path += f".{part}" if path else part
            data = data.get(part) if isinstance(data, dict) else None
    return path


def describe_input(value: Any) -> str:
    """A value as a message shows it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if is_number(value):
        return str(value)
    if isinstance(value, str):
        return f"the text `{value}`" if value else "an empty text"
    if isinstance(value, list | tuple):
        return f"the list {_flow(value)}" if len(_flow(value)) < 50 else f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"the mapping {{{', '.join(value)}}}" if value else "an empty mapping"
    return type(value).__name__


def _flow(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return "{...}" if isinstance(value, dict) else describe_input(value).removeprefix("the text ")


def _format_value(location: Location, tree: Tree) -> str:
    return f"`{format_path(location, tree)}`" if location else "the file"


def _missing(location: Location, field: FieldInfo | None, tree: Tree, source: str) -> Diagnostic:
    parent, name = location[:-1], location[-1]
    what = f": {field.description}" if field is not None and field.description else ""
    holder = _format_value(parent, tree)
    notes = (MINIMAL_FILE,) if location == ("targets",) else ()
    return Diagnostic(span_of(parent, tree, source, key=True), f"{holder} lacks `{name}`{what}", notes)


def _unknown_key(location: Location, model: type[BaseModel] | None, tree: Tree, source: str) -> Diagnostic:
    name = str(location[-1])
    known = list(model.model_fields) if model is not None else []
    notes = []
    glued, colon, _ = name.partition(":")
    if colon:
        notes.append(f"YAML wants a space after the colon: `{glued}: ...`")
    elif (suggestion := did_you_mean(name, known)) is not None:
        notes.append(suggestion)
    elif format_path(location, tree) in optimizable_paths(as_mapping(tree.data)):
        notes.append(f"to optimise it: `optimize: {{{format_path(location, tree)}: {{lr: ...}}}}`")
    elif model is not None and len(location) == 1:
        owners = [key for key, field in model.model_fields.items() if name in _keys_of(field)]
        notes += [f"`{name}` belongs in `{owners[0]}`: indent it below that"] if owners else []
    where = f"in `{format_path(location[:-1], tree)}`" if location[:-1] else "at the top of the file"
    notes.append(f"known {where}: {', '.join(known)}")
    return Diagnostic(
        span_of(location, tree, source, key=True), f"unknown key {_format_value(location, tree)}", tuple(notes)
    )


def _keys_of(field: FieldInfo) -> list[str]:
    model = model_of(field.rebuild_annotation())
    return list(model.model_fields) if model is not None else []


def _no_file(location: Location, value: Any, context: dict[str, Any], tree: Tree, source: str) -> Diagnostic:
    path = Path(context["path"])
    notes = []
    if path.is_dir():
        message = f"{_format_value(location, tree)} names a folder; wanted a file: {path}"
    else:
        what = "file" if context["kind"] == "file" else "file or folder"
        message = f"{_format_value(location, tree)} names no {what} that exists: {path}"
        neighbours = os.listdir(path.parent) if path.parent.is_dir() and os.access(path.parent, os.R_OK) else []
        suggestion = did_you_mean(path.name, sorted(neighbours))
        notes += [suggestion] if suggestion else []
        if not Path(value).is_absolute():
            from_shell = isinstance(value, ShellText)
            notes.append(
                "a file named on the command line is looked for from the working folder"
                if from_shell
                else "a file named in a scene file is looked for from that file's folder"
            )
    return Diagnostic(span_of(location, tree, source), message, tuple(notes))


def _no_such_form(location: Location, value: Any, context: dict[str, Any], tree: Tree, source: str) -> Diagnostic:
    key, known = context["key"], context["known"].split("|")
    wanted = _either(known)
    if isinstance(value, dict) and key and key not in value:
        nearest = next((name for name in value if did_you_mean(name, [key])), None)
        notes = (f"write `{key}` instead of `{nearest}`",) if nearest else ()
        message = f"{_format_value(location, tree)} lacks `{key}`: {wanted}"
        return Diagnostic(span_of(location, tree, source, key=True), message, notes)
    if isinstance(value, dict) and key:
        location, value = (*location, key), value[key]
    notes = []
    written = [value] if isinstance(value, str) else list(value) if isinstance(value, dict) else []
    # "{vertex: a colour}" is a form that begins with the key vertex.
    words = known + [word for form in known for word in re.findall(r"^\{(\w+):", form)]
    suggestions = [did_you_mean(word, words) for word in written]
    notes += [suggestion for suggestion in suggestions if suggestion is not None]
    message = f"{_format_value(location, tree)} is {describe_input(value)}; wanted {wanted}"
    return Diagnostic(span_of(location, tree, source), message, tuple(notes))


def _hints(value: Any, words: Sequence[str]) -> list[str]:
    """What helps with a value of a wrong kind."""
    if not isinstance(value, str):
        return []
    if value.lower() in ("yes", "on", "no", "off", "y", "n"):
        return [f"did you mean `{'true' if value.lower() in ('yes', 'on', 'y') else 'false'}`?"]
    suggestion = did_you_mean(value, words)
    if suggestion is not None:
        return [suggestion]
    try:
        plain = read_scalar_or_flow(value)
    except Exception:  # Whatever stops the reading of this text as YAML, there is then no hint to give.
        return []
    if is_number(plain) or isinstance(plain, list):
        return ["take off the quotes"]
    name, colon, _ = value.partition(":")
    return [f"YAML wants a space after the colon: `{name}: ...`"] if colon and name.isidentifier() else []


def _about(location: Location, field: FieldInfo | None) -> list[str]:
    if field is None or not field.description or not location:
        return []
    names = [part for part in location if isinstance(part, str)]
    return [f"{names[-1]}: {field.description}"]


def _either(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
