"""A filled-in FitConfig written as a scene file of its own."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from diffrender.config.schema import FitConfig
from diffrender.config.yaml_tree import write_yaml

HEADER = """\
# Written by diffrender: the scene file with all that it left out filled in and with absolute paths.
# It gives the same fit again: diffrender fit scene.resolved.yaml
"""
# The order in which a person would write it.
FIRST_KEYS = ("targets", "mesh", "material", "pose", "objects", "lights", "background", "render", "optimize", "loss")


def format_resolved(config: FitConfig) -> str:
    """`config` as a scene file; parsed again, it is `config`."""
    data = _plain(config)
    ordered = {key: data[key] for key in FIRST_KEYS if key in data}
    return HEADER + write_yaml(ordered | data)


def _plain(value: Any) -> Any:
    """Models as dicts and tuples as lists. Nulls that are the default anyway are left out."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        # What an entry is comes before its options.
        names = sorted(fields, key=lambda name: name not in ("name", "type"))
        entries = {name: getattr(value, name) for name in names} | (value.model_extra or {})
        return {
            name: _plain(entry)
            for name, entry in entries.items()
            if entry is not None or name not in fields or fields[name].default is not None
        }
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def differences(first: FitConfig, second: FitConfig) -> list[tuple[str, Any, Any]]:
    """(dotted key, value there, value here) of all that differs; None where it is left out."""
    return _differences("", _plain(first), _plain(second))


def _differences(key: str, first: Any, second: Any) -> list[tuple[str, Any, Any]]:
    if isinstance(first, dict) and isinstance(second, dict):
        pairs = {name: (first.get(name), second.get(name)) for name in (*first, *second)}
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        pairs = {str(index): pair for index, pair in enumerate(zip(first, second, strict=True))}
    else:
        return [] if first == second else [(key, first, second)]
    prefix = f"{key}." if key else ""
    return [found for name, pair in pairs.items() for found in _differences(f"{prefix}{name}", *pair)]
