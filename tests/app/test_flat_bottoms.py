"""What stands on a table, and is carved out of views from above, has a flat bottom in the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diffrender.app.run import FLATTENED, run_fit
from diffrender.config.load import parse_config
from diffrender.setup.saved_scene import SCENE_FILE, load_scene

SCENE = """
targets:
  resolution: 96
  test_every: null
  synthetic: {mesh: {init: box}, views: 12, elevation_deg: [20, 40], samples: 2}
mesh: visual_hull
optimize: {steps: 60, mesh.vertices: {remesh: {stop: 50}}}
progress: {pictures: 0, video: false, turntable: false}
"""


@pytest.mark.parametrize("flattens", [True, False])
def test_a_carved_box_has_a_flat_bottom(flattens: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not flattens:
        monkeypatch.setattr("diffrender.app.run.flatten_unseen", lambda scene, *_: scene)
    outcome = run_fit(parse_config(SCENE, tmp_path), "box", None, tmp_path)
    vertices = load_scene(outcome.folder / SCENE_FILE)[0].objects["object"].mesh.vertices
    below = vertices[(vertices[:, 1] < 0) & (vertices[:, [0, 2]].abs().amax(1) < 0.35), 1]
    assert (FLATTENED in json.loads((outcome.folder / "manifest.json").read_text())["notes"]) == flattens
    bulge = -0.5 - float(below.mean())
    assert len(below) > 30 and (bulge < 0.08 if flattens else bulge > 0.15)


@pytest.mark.parametrize(
    ("error", "note"),
    [
        (ValueError("a singular matrix"), "what no view shows could not be flattened: a singular matrix"),
        (KeyboardInterrupt(), "what no view shows was not flattened: interrupted"),
    ],
)
def test_a_fit_is_written_even_if_it_cannot_be_flattened(
    error: BaseException, note: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("diffrender.app.run.flatten_unseen", fail)
    outcome = run_fit(parse_config(SCENE.replace("steps: 60", "steps: 51"), tmp_path), "box", None, tmp_path)
    notes = json.loads((outcome.folder / "manifest.json").read_text())["notes"]
    assert note in notes
    assert (outcome.folder / SCENE_FILE).is_file()
