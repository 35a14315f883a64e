from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import diffrender

HEAVY = ["torch", "numba", "triton", "matplotlib", "trimesh", "imageio", "scipy", "PIL"]


def loaded_by(code: str) -> set[str]:
    """Which heavy modules a new Python has loaded after `code`."""
    check = f"\nimport sys\nprint('LOADED', [name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code + check], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("LOADED"))
    return {name for name in HEAVY if f"'{name}'" in line}


def test_import_loads_nothing_heavy() -> None:
    assert loaded_by("import diffrender") == set()


def test_help_and_the_reading_of_a_scene_file_do_without_torch() -> None:
    code = """
from typer.testing import CliRunner
from diffrender.app.cli import app
result = CliRunner().invoke(app, ["fit", "--help"])
assert result.exit_code == 0 and "--set" in result.output, result.output
result = CliRunner().invoke(app, ["fit", "scenes/quickstart.yaml", "--steps", "0"])
assert result.exit_code == 1 and "--steps" in result.output, result.output
"""
    assert loaded_by(code) == set()


def test_rendering_does_without_the_writers_and_readers() -> None:
    assert not loaded_by("from diffrender import render_scene, Scene, Mesh") & {"matplotlib", "trimesh", "imageio"}


def test_a_whole_run_loads_matplotlib_and_trimesh_only_when_they_are_needed() -> None:
    assert not loaded_by("from diffrender import run_fit") & {"matplotlib", "trimesh", "imageio"}


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    for name in diffrender.__all__:
        value = getattr(diffrender, name)
        assert value.__doc__, name
        assert name in dir(diffrender)


def test_no_public_name_is_that_of_a_subpackage() -> None:
    """Python would put the package in the name's place as soon as it is imported."""
    modules = {module.name for module in pkgutil.iter_modules(diffrender.__path__)}
    assert not modules & set(diffrender.__all__)
    importlib.import_module("diffrender.app.run")
    assert callable(diffrender.render_scene)
    assert callable(diffrender.fit_scene)


def test_the_list_of_names_fits_on_one_screen() -> None:
    assert diffrender.__file__ is not None
    assert len(Path(diffrender.__file__).read_text().splitlines()) <= 80


def test_an_unknown_name_is_an_attribute_error() -> None:
    try:
        diffrender.rendre  # type: ignore[attr-defined]  # noqa: B018
    except AttributeError as error:
        assert "rendre" in str(error)
    else:
        raise AssertionError("no error")
