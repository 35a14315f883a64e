"""Names in README.md that a reader will type: options of commands, --set keys and keys of scene files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel

from diffrender.app.cli import app
from diffrender.config.load import load_config
from diffrender.config.schema import FitConfig

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTIONS = ("targets", "render", "loss", "progress", "display")


def commands() -> list[list[str]]:
    """The words of each `diffrender ...` line in the fenced blocks."""
    shell = "".join(re.findall(r"```bash\n(.*?)```", README, re.DOTALL))
    return [shlex.split(line, comments=True) for line in shell.splitlines() if line.startswith("diffrender ")]


def keys() -> list[str]:
    """Dotted keys of a scene file's sections, in the text."""
    spans = re.findall(r"`([a-z_.]+)[`:]", re.sub(r"```.*?```", "", README, flags=re.DOTALL))
    return sorted({span for span in spans if "." in span and span.split(".")[0] in SECTIONS})


def models_of(kind: Any) -> Iterator[type[BaseModel]]:
    """The mappings that a type has room for: those of a union, of a list, of null or something."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for part in get_args(kind):
        yield from models_of(part)


def is_key(path: str) -> bool:
    models: list[type[BaseModel]] = [FitConfig]
    for part in path.split("."):
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        if not fields:
            return False
        models = [model for field in fields for model in models_of(field.annotation)]
    return True


def test_what_is_no_key_is_found() -> None:
    assert is_key("targets.synthetic.mesh.subdivisions") and not is_key("targets.synthetic.mesh.subdivision")
    assert not is_key("targets.path.name") and not is_key("losses.image")


@pytest.mark.parametrize("key", keys())
def test_keys_of_the_scene_file_exist(key: str) -> None:
    assert is_key(key)


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_options_of_commands_exist_and_what_is_set_is_valid(words: list[str]) -> None:
    command = typer.main.get_command(app).commands[words[1]]  # type: ignore[attr-defined]
    known = {name for parameter in command.params for name in parameter.opts}
    assert {word.split("=")[0] for word in words if word.startswith("--")} <= known
    overrides = [value for option, value in pairwise(words) if option == "--set"]
    if words[2:] and words[2].endswith(".yaml"):
        load_config(ROOT / words[2], overrides)
