"""Turn pydantic's errors into messages at positions of the scene file."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from diffrender.config.format_mistakes import Diagnostic, SourceSpan, did_you_mean
from diffrender.config.options.base import Finding, Strict, is_number, model_of, shape_of, words_of
from diffrender.config.schema_words import describe, either, forms, is_tag, type_at
from diffrender.config.untyped_config import as_mapping, item_name, optimizable_paths
from diffrender.config.yaml_tree import Location, ShellText, Tree, read_scalar_or_flow

MINIMAL_FILE = "the shortest scene file: `targets: {path: folder_with_transforms_json}`"


def to_diagnostic(error: ErrorDetails, root: type[Strict], tree: Tree, source: str) -> Diagnostic:
    """Return the mistake that one of pydantic's errors means.

    error: an entry of ValidationError.errors() of the model `root` on tree.data.
    source: name of the scene file.
    """
    location = tuple(part for part in error["loc"] if not is_tag(part))
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    schema, field = type_at(root, error["loc"])
    if kind == "rule":
        return at_key(Finding(location, context["message"], context["notes"]), tree, source)
    if kind == "missing":
        return _missing(location, field, tree, source)
    if kind == "extra_forbidden":
        model = model_of(type_at(root, error["loc"][:-1])[0])
        assert model is not None
        return at_key(_unknown_key(location, model, tree), tree, source)
    if kind == "no_file":
        finding = _no_file(location, value, context, tree)
    elif kind == "choice":
        key = getattr(shape_of(schema).choice, "key", "")
        if isinstance(value, dict) and key and key not in value:
            return at_key(_no_key(location, value, key, schema, tree), tree, source)
        finding = _no_such_form(location, value, key, schema, tree)
    else:
        what = str(context["what"]) if kind == "expected" else describe(schema) or error["msg"]
        in_list = (
            ["put `[ ]` around it, or `- ` before each entry"] if kind == "list_type" and value is not None else []
        )
        notes = (*in_list, *_hints(value, words_of(schema)), *_about(location, field))
        finding = Finding(location, f"{_named(location, tree)} must be {what}, got {describe_input(value)}", notes)
    return Diagnostic(_span_of(finding.location, tree, source), finding.message, finding.notes)


def at_key(finding: Finding, tree: Tree, source: str) -> Diagnostic:
    """Return the mistake that a finding means, shown at the key of its location."""
    return Diagnostic(_span_of(finding.location, tree, source, key=True), finding.message, finding.notes)


def _span_of(location: Location, tree: Tree, source: str, key: bool = False) -> SourceSpan:
    """Return where the value (or with `key` the key) at `location` is, or else the nearest thing around it."""
    if key and location in tree.keys:
        return tree.keys[location]
    inside = (location[:end] for end in range(len(location), 0, -1))
    return next((tree.values[outer] for outer in inside if outer in tree.values), SourceSpan(source, 1, 1, ""))


def format_path(location: Location, data: Any) -> str:
    """Return the dotted path for messages: list items by their name if they have one, as `lights.key.radiance`."""
    path = ""
    for part in location:
        if isinstance(part, int):
            data = data[part] if isinstance(data, list) and part < len(data) else None
            name = item_name(data)
            path += f"[{part}]" if name is None else f".{name}"
        else:
            path += f".{part}" if path else part
            data = as_mapping(data).get(part)
    return path


def describe_input(value: Any) -> str:
    """Describe a value for a message."""
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


def _named(location: Location, tree: Tree) -> str:
    return f"`{format_path(location, tree.data)}`" if location else "the file"


def _missing(location: Location, field: FieldInfo | None, tree: Tree, source: str) -> Diagnostic:
    about = f": {field.description}" if field is not None and field.description else ""
    notes = (MINIMAL_FILE,) if location == ("targets",) else ()
    message = f"{_named(location[:-1], tree)} lacks `{location[-1]}`{about}"
    return at_key(Finding(location[:-1], message, notes), tree, source)


def _unknown_key(location: Location, model: type[Strict], tree: Tree) -> Finding:
    name, path = str(location[-1]), format_path(location, tree.data)
    known = model.fields_by_key()
    notes = []
    glued, colon, _ = name.partition(":")
    if colon:
        notes.append(f"YAML needs a space after the colon: `{glued}: ...`")
    elif (suggestion := did_you_mean(name, known)) is not None:
        notes.append(suggestion)
    elif path in optimizable_paths(as_mapping(tree.data)):
        notes.append(f"to optimise it: `optimize: {{{path}: {{lr: ...}}}}`")
    elif len(location) == 1:
        models = {key: model_of(field.rebuild_annotation()) for key, field in known.items()}
        owners = [key for key, inner in models.items() if inner is not None and name in inner.fields_by_key()]
        notes += [f"`{name}` belongs in `{key}`: indent it below that" for key in owners[:1]]
    where = f"in {_named(location[:-1], tree)}" if location[:-1] else "at the top of the file"
    return Finding(location, f"unknown key `{path}`", (*notes, f"known {where}: {', '.join(known)}"))


def _no_file(location: Location, value: Any, context: dict[str, Any], tree: Tree) -> Finding:
    path = Path(context["path"])
    if path.is_dir():
        return Finding(location, f"{_named(location, tree)} must be a file, got the folder {path}")
    what = "file" if context["kind"] == "file" else "file or folder"
    neighbours = os.listdir(path.parent) if path.parent.is_dir() and os.access(path.parent, os.R_OK) else []
    suggestion = did_you_mean(path.name, sorted(neighbours))
    notes = [suggestion] if suggestion else []
    if not Path(value).is_absolute():
        from_shell = "file names on the command line are relative to the working folder"
        from_file = "file names in a scene file are relative to the folder of that file"
        notes.append(from_shell if isinstance(value, ShellText) else from_file)
    return Finding(location, f"{_named(location, tree)}: no such {what}: {path}", tuple(notes))


def _no_key(location: Location, value: dict[str, Any], key: str, schema: Any, tree: Tree) -> Finding:
    nearest = next((name for name in value if did_you_mean(name, [key])), None)
    notes = (f"write `{key}` instead of `{nearest}`",) if nearest else ()
    return Finding(location, f"{_named(location, tree)} lacks `{key}`: {either(forms(schema))}", notes)


def _no_such_form(location: Location, value: Any, key: str, schema: Any, tree: Tree) -> Finding:
    if isinstance(value, dict) and key:
        location, value = (*location, key), value[key]
    known = forms(schema)
    written = [value] if isinstance(value, str) else list(as_mapping(value))
    # "{vertex: a colour}" is a form that begins with the key vertex.
    words = known + [word for form in known for word in re.findall(r"^\{(\w+):", form)]
    suggestions = [did_you_mean(word, words) for word in written]
    message = f"{_named(location, tree)} must be {either(known)}, got {describe_input(value)}"
    return Finding(location, message, tuple(filter(None, suggestions)))


def _hints(value: Any, words: Sequence[Any]) -> list[str]:
    """Return hints for a value of the wrong type."""
    if not isinstance(value, str):
        return []
    if value.lower() in ("yes", "on", "no", "off", "y", "n"):
        return [f"did you mean `{'true' if value.lower() in ('yes', 'on', 'y') else 'false'}`?"]
    suggestion = did_you_mean(value, map(str, words))
    if suggestion is not None:
        return [suggestion]
    try:
        plain = read_scalar_or_flow(value)
    except Exception:  # Text that is not YAML gives no hint.
        return []
    if is_number(plain) or isinstance(plain, list):
        return ["remove the quotes"]
    name, colon, _ = value.partition(":")
    return [f"YAML needs a space after the colon: `{name}: ...`"] if colon and name.isidentifier() else []


def _about(location: Location, field: FieldInfo | None) -> list[str]:
    if field is None or not field.description or not location:
        return []
    names = [part for part in location if isinstance(part, str)]
    return [f"{names[-1]}: {field.description}"]
