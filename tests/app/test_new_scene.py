"""`diffrender new`, and `diffrender fit` of a capture without a scene file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.transforms_captures import capture
from typer.testing import CliRunner

from diffrender.app.cli import app
from diffrender.config.load import load_config

QUICK = (
    "optimize.steps=2", "progress={pictures: 1, views: 1, video: false, turntable: false}",
    "mesh={init: sphere, subdivisions: 1, radius: 1, center: [0, 0, 0]}",
)  # fmt: skip


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def fit(path: Path, out: Path, *others: object) -> Any:
    sets = [word for text in QUICK for word in ("--set", text)]
    return invoke("fit", path, "--out", out, *sets, *others)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    return capture(tmp_path / "photos")


def test_a_scene_file_says_what_was_found_and_is_fitted_as_it_is(photos: Path) -> None:
    result = invoke("new", photos)
    assert result.exit_code == 0, result.output
    text = (photos / "scene.yaml").read_text()
    assert text in result.output
    for words in ("# images 2 of 8 x 6", "# masks 33% object", "# camera PINHOLE, focal length 10 to 12 px"):
        assert words in re.sub(" +", " ", text)
    assert yaml.safe_load(text) == {"targets": {"path": ".", "resolution": 800}}
    done = fit(photos / "scene.yaml", photos / "out")
    assert done.exit_code == 0, done.output
    assert (photos / "out" / "scene" / "latest" / "mesh" / "final.glb").is_file()
    # The folder now means its scene file.
    assert fit(photos, photos / "out").exit_code == 0
    assert len(list((photos / "out" / "scene").glob("20*"))) == 2


def test_every_choice_that_it_offers_is_valid(photos: Path) -> None:
    invoke("new", photos)
    text = (photos / "scene.yaml").read_text()
    offered = text.split("targets:")[1]
    lines = [re.sub(r"^( *)# ", r"\1", line) for line in offered.splitlines() if "is chosen if" not in line]
    chosen = "\n".join(["targets:", *lines]).replace("steps: 400", "seed: 1")
    (photos / "all.yaml").write_text(chosen)
    config = load_config(photos / "all.yaml")
    assert config.targets.missing == "skip" and config.optimize.minutes == 2 and len(config.lights) == 2
    assert {"cameras.pose", "cameras.exposure"} <= set(config.optimize.written())


def test_an_existing_file_is_kept_and_a_folder_without_a_capture_makes_none(photos: Path, tmp_path: Path) -> None:
    (photos / "scene.yaml").write_text("mine")
    result = invoke("new", photos)
    assert result.exit_code == 1 and "scene.yaml: exists already; give another name with --out" in result.output
    assert (photos / "scene.yaml").read_text() == "mine"
    assert invoke("new", photos, "--out", tmp_path / "elsewhere.yaml").exit_code == 0
    assert load_config(tmp_path / "elsewhere.yaml").targets.path == str(photos)
    (tmp_path / "empty").mkdir()
    result = invoke("new", tmp_path / "empty")
    assert result.exit_code == 1 and "is an empty folder; it must be" in result.output
    assert not list((tmp_path / "empty").iterdir())


@pytest.mark.parametrize("file", ["", "transforms.json"])
def test_a_capture_is_fitted_without_a_scene_file(photos: Path, tmp_path: Path, file: str) -> None:
    done = fit(photos / file, tmp_path / "out")
    assert done.exit_code == 0, done.output
    run = tmp_path / "out" / "photos" / "latest"
    assert "resolution: 800" in (run / "scene.resolved.yaml").read_text()
    assert json.loads((run / "manifest.json").read_text())["steps_done"] == 2
    again = invoke("fit", "--resume", run, "--steps", 3)
    assert again.exit_code == 0, again.output


def test_what_is_neither_scene_nor_capture_is_told(tmp_path: Path) -> None:
    result = invoke("fit", tmp_path / "lost")
    assert result.exit_code == 1 and "no such scene file" in result.output
    result = invoke("fit", tmp_path)
    assert result.exit_code == 1 and "it must be a folder with" in result.output
