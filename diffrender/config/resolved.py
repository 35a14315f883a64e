"""Write a filled-in FitConfig as a scene file, and compare two of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffrender.config.options.base import Strict
from diffrender.config.schema import FitConfig
from diffrender.config.yaml_tree import write_yaml

HEADER = """\
# Written by diffrender: the scene file with all defaults filled in and with absolute paths.
# It reproduces the fit: diffrender fit scene.resolved.yaml
"""
# The order in which a scene file is usually written.
FIRST_KEYS = ("targets", "mesh", "material", "pose", "objects", "lights", "background", "render", "optimize", "loss")


def format_resolved(config: FitConfig, reasons: Mapping[str, str] | None = None) -> str:
    """Return `config` as a scene file; parsed again, it is `config`.

    reasons: comments by the dotted key that they are written above: at the top, or below `optimize`.
    """
    data = plain(config)
    ordered = {key: data[key] for key in FIRST_KEYS if key in data}
    lines = []
    section = ""
    for line in write_yaml(ordered | data).splitlines():
        if not line.startswith(" "):
            section = line.partition(":")[0]
        key = line.strip().partition(": ")[0].removesuffix(":")
        indent = len(line) - len(line.lstrip())
        reason = (reasons or {}).get(section if not indent else f"{section}.{key}" if indent == 2 else "")
        lines += [*([f"{' ' * indent}# {reason}"] if reason else []), line]
    return HEADER + "\n".join([*lines, ""])


def plain(value: Any) -> Any:
    """Return models as dicts and tuples as lists. Nulls that are the default are omitted, unless they say something."""
    if isinstance(value, Strict):
        fields = value.fields_by_key()
        said = value.model_fields_set if value.writes_nulls else frozenset()
        # Name and type come before other options.
        entries = sorted(value.entries().items(), key=lambda entry: entry[0] not in ("name", "type"))
        return {
            key: plain(entry)
            for key, entry in entries
            if entry is not None or key not in fields or fields[key].default is not None or key in said
        }
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def differences(first: FitConfig, second: FitConfig) -> list[tuple[str, Any, Any]]:
    """Return (dotted key, first value, second value) of all differences; None if a value is omitted."""
    return _differences("", plain(first), plain(second))


def _differences(key: str, first: Any, second: Any) -> list[tuple[str, Any, Any]]:
    if isinstance(first, dict) and isinstance(second, dict):
        pairs = {name: (first.get(name), second.get(name)) for name in (*first, *second)}
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        pairs = {str(index): pair for index, pair in enumerate(zip(first, second, strict=True))}
    else:
        return [] if first == second else [(key, first, second)]
    prefix = f"{key}." if key else ""
    return [found for name, pair in pairs.items() for found in _differences(f"{prefix}{name}", *pair)]
