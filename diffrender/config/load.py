"""Read a scene file strictly: the whole FitConfig, or all mistakes in the file at once.

Rules about the combination of values of one section are checked once each value of that section is valid.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from diffrender.config.cross_checks import cross_checks
from diffrender.config.format_mistakes import Diagnostic, MistakeError, SourceSpan, did_you_mean, report
from diffrender.config.overrides import Override, apply_override
from diffrender.config.pydantic_errors import MINIMAL_FILE, at_key, describe_input, to_diagnostic
from diffrender.config.schema import FitConfig, OptimizeOptions
from diffrender.config.untyped_config import as_mapping, may_be_of_part, optimizable_paths
from diffrender.config.yaml_tree import Tree, read_yaml
from diffrender.errors import ConfigError


def load_config(path: str | Path, overrides: Sequence[Override | str] = ()) -> FitConfig:
    """Return the FitConfig of the scene file at `path`, with `overrides` applied.

    overrides: Override, or text "key=value" as for `--set`; files named by them are relative to the working folder,
        while those in the scene file are relative to its own folder.
    Raises ConfigError with all mistakes, each with file:line:column, the line itself and what was expected.
    """
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(f"load_config: path must be that of a scene file, got {type(path).__name__}")
    path = Path(path)
    text = _read_text(path)
    return parse_config(text, path.parent, _short_name(path), overrides)


def parse_config(
    text: str, folder: Path, source: str = "scene.yaml", overrides: Sequence[Override | str] = ()
) -> FitConfig:
    """Return the FitConfig of a scene file's text; its file names start from `folder`, `source` is its name.

    Raises ConfigError as load_config does.
    """
    try:
        tree = read_yaml(text, source)
    except MistakeError as error:
        raise ConfigError(report([error.mistake])) from None
    parsed = [Override.parse(item) if isinstance(item, str) else item for item in overrides]
    if tree.data is None and not parsed:
        raise ConfigError(report([Diagnostic(SourceSpan(source, 1, 1, ""), "the file is empty", (MINIMAL_FILE,))]))
    if tree.data is not None and not isinstance(tree.data, dict):
        message = f"the file must be a mapping (`key: value` lines), got {describe_input(tree.data)}"
        raise ConfigError(report([Diagnostic(tree.values[()], message, (MINIMAL_FILE,))]))
    for override in parsed:
        apply_override(tree, override)
    return _validate(tree, folder, source)


def _validate(tree: Tree, folder: Path, source: str) -> FitConfig:
    mistakes = list(tree.mistakes)
    data = tree.data if tree.data is not None else {}
    tree.data = data
    optimize = as_mapping(data.get("optimize"))
    for path in optimize.keys() - OptimizeOptions.model_fields.keys():
        # A path with nothing behind it is learned with its defaults; one that is set to null is not learned.
        if optimize[path] is None and ("optimize", path) not in tree.blank:
            optimize[path] = "off"
    config = None
    try:
        config = FitConfig.model_validate(data, context={"scene": folder, "shell": Path()})
    except ValidationError as error:
        known = {*OptimizeOptions.model_fields, *optimizable_paths(data)}
        for details in error.errors(include_url=False):
            root, *path = details["loc"]
            # Mistakes below an unknown path are not reported separately.
            if root == "optimize" and len(path) > 1 and path[0] not in known and not may_be_of_part(data, str(path[0])):
                continue
            mistakes.append(to_diagnostic(details, FitConfig, tree, source))
    mistakes += [at_key(finding, tree, source) for finding in cross_checks(data)]
    if mistakes or config is None:
        raise ConfigError(report(mistakes))
    return config


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        folder = path.parent
        names = sorted(item.name for item in folder.glob("*.y*ml")) if folder.is_dir() else []
        suggestion = did_you_mean(path.name, names)
        there = f"; {folder} holds {', '.join(names[:8])}" if names else ""
        raise ConfigError(f"{path}: no such scene file{there}{'; ' + suggestion if suggestion else ''}") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: must be a scene file, got a folder; try {path / 'scene.yaml'}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: byte {error.start} is not UTF-8 text; save a scene file as UTF-8, a photograph as PNG or JPEG"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _short_name(path: Path) -> str:
    """Return the file name for messages: relative if it is below the working folder, so that it can be clicked."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
