"""`diffrender new`, and `diffrender fit` of a capture without a scene file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from support.transforms_captures import capture
from typer.testing import CliRunner

from diffrender.app.cli import app
from diffrender.app.new_scene import load_scene, scene_of_capture
from diffrender.config.load import load_config, parse_config
from diffrender.errors import DataError
from diffrender.writers.images.png import write_png

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
    assert (photos / "out" / "photos" / "latest" / "mesh" / "final.glb").is_file()
    # The folder now means its scene file.
    assert fit(photos, photos / "out").exit_code == 0
    assert len(list((photos / "out" / "photos").glob("20*"))) == 2


def test_it_offers_the_box_that_was_found(photos: Path) -> None:
    content = json.loads((photos / "transforms.json").read_text())
    (photos / "transforms.json").write_text(json.dumps(content | {"aabb": [[-1, -2, -1.23456], [1, 2, 0.5]]}))
    text = invoke("new", photos).output
    assert "box (-1, -2, -1.23456) to (1, 2, 0.5), by the capture" in re.sub(" +", " ", text)
    line = next(line for line in text.splitlines() if line.startswith("# mesh:"))
    assert yaml.safe_load(line[2:]) == {"mesh": {"init": "visual_hull", "aabb": [[-1, -2, -1.235], [1, 2, 0.5]]}}
    # Outwards, also of a flat box.
    (photos / "transforms.json").write_text(json.dumps(content | {"aabb": [[-1, -1, 0], [1, 1, 0.00041]]}))
    (photos / "scene.yaml").unlink()
    line = next(line for line in invoke("new", photos).output.splitlines() if line.startswith("# mesh:"))
    assert yaml.safe_load(line[2:])["mesh"]["aabb"] == [[-1, -1, 0], [1, 1, 0.00041]]


def test_each_choice_that_it_offers_is_valid(photos: Path) -> None:
    invoke("new", photos)
    text = (photos / "scene.yaml").read_text()
    offered = [line for line in text.splitlines() if re.match(r" *# +[a-z_.]+:", line) and "   " not in line[4:12]]
    offered = [line for line in offered if line in text.split("resolution:")[1] and not line.startswith("# optimize")]
    assert len(offered) == 10
    for line in offered:
        bare = re.sub(r"^( *)# ", r"\1", line)
        head = "optimize:\n" if line.startswith("#   ") else ""
        (photos / "one.yaml").write_text(f"{text}\n{head}{bare}\n" if line[0] == "#" else text.replace(line, bare))
        config = load_config(photos / "one.yaml")
        assert config != load_config(photos / "scene.yaml") or "400" in line, line


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


@pytest.mark.parametrize("name", ["scene.yml", "odd name", "scene.txt", "scene.json"])
def test_scene_files_of_any_name_are_scene_files(photos: Path, name: str) -> None:
    (photos / name).write_text('{"targets": {"path": ".", "resolution": 4}}')
    path = photos if name == "scene.yml" else photos / name
    done = fit(path, photos / "out")
    assert done.exit_code == 0, done.output
    (run,) = (photos / "out").glob("*/latest")
    assert "resolution: 4" in (run / "scene.resolved.yaml").read_text() and (run / "scene.yaml").is_file()


@pytest.mark.parametrize(
    "name", ["with space", "é ü 中", "a'b\"c\\d", "a#b: c", "\U0001f600", "tab\tand\x7f\x85", "line\nbreak"]
)
def test_names_of_folders_are_kept_whatever_they_are(photos: Path, tmp_path: Path, name: str) -> None:
    photos.rename(tmp_path / name)
    scene = scene_of_capture(tmp_path / name)
    assert parse_config(scene, tmp_path).targets.path == str(tmp_path / name)
    assert invoke("new", tmp_path / name).exit_code == 0
    assert load_config(tmp_path / name / "scene.yaml").targets.path == str(tmp_path / name)


def test_a_name_that_is_no_text_is_told() -> None:
    with pytest.raises(DataError, match="not valid UTF-8"):
        scene_of_capture(Path("lat\udce9"))


@pytest.mark.parametrize(
    ("path", "name"),
    [("bike/scene.yaml", "bike"), ("bike/scene.yml", "bike"), ("bike/red.yaml", "red"),
     ("bike/sparse/0", "bike_sparse_0"),
     ("bike/images/scene.yaml", "bike_images"), ("2026/cameras/transforms.json", "2026_cameras")],
)  # fmt: skip
def test_runs_are_called_by_what_tells_captures_apart(photos: Path, tmp_path: Path, path: str, name: str) -> None:
    place = tmp_path / path
    folder = place.parent if place.suffix else place
    folder.parent.mkdir(parents=True, exist_ok=True)
    photos.rename(folder)
    if place.suffix in (".yaml", ".yml"):
        place.write_text("targets: {path: .}")
    assert load_scene(place, [])[1] == name


@pytest.mark.parametrize("file", ["", "transforms.json"])
def test_a_capture_is_fitted_without_a_scene_file(photos: Path, tmp_path: Path, file: str) -> None:
    done = fit(photos / file, tmp_path / "out")
    assert done.exit_code == 0, done.output
    run = tmp_path / "out" / "photos" / "latest"
    assert "resolution: 800" in (run / "scene.resolved.yaml").read_text()
    assert json.loads((run / "manifest.json").read_text())["steps_done"] == 2
    sets = [word for text in (*QUICK[1:], "targets.resolution=800") for word in ("--set", text)]
    for again in (["--resume", run, "--steps", 3], [photos / file, "--resume", run, "--steps", 4, *sets]):
        result = invoke("fit", *again)
        assert result.exit_code == 0, result.output


def test_what_is_neither_scene_nor_capture_is_told(tmp_path: Path) -> None:
    result = invoke("fit", tmp_path / "lost")
    assert result.exit_code == 1 and "no such scene file" in result.output
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    result = invoke("check", tmp_path / "photo.jpg")
    assert result.exit_code == 1 and "photo.jpg: is not an image" in result.output
    result = invoke("fit", tmp_path)
    assert result.exit_code == 1 and "it must be a folder with" in result.output


def test_a_photograph_is_fitted_by_its_own_name(tmp_path: Path) -> None:
    pixels = torch.zeros(40, 60, 3)
    pixels[10:30, 20:40] = 0.8
    write_png(tmp_path / "cup.png", pixels)
    assert invoke("new", tmp_path / "cup.png").exit_code == 0
    text = (tmp_path / "cup.yaml").read_text()
    assert "its camera is assumed to look at the origin from (0, 0, " in text
    assert load_config(tmp_path / "cup.yaml").targets.path == str(tmp_path / "cup.png")
    # All that it offers together is a scene file too.
    lines = [re.sub(r"^( *)# (?=[ a-z_.]+:)", r"\1", line) for line in text.split("resolution:")[1].splitlines()]
    whole = text.split("resolution:")[0] + "resolution:" + "\n".join(line for line in lines if "minutes" not in line)
    (tmp_path / "whole.yaml").write_text(whole)
    config = load_config(tmp_path / "whole.yaml")
    assert config.targets.fov_deg == 55 and config.mesh is not None and config.optimize.steps == 400
    assert config.optimize.written()["pose"] is not None and config.optimize.written()["mesh.vertices"] is None
    done = fit(tmp_path / "cup.png", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "cup" / "latest" / "report.html").is_file()
    assert "A shape is learned from 1 fitted view" in done.output
