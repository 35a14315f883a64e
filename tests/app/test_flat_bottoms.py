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


KEPT = "mesh: {init: visual_hull, flatten_unseen: false}"
AMONG_OTHERS = """objects:
- {name: ball, mesh: {init: sphere, subdivisions: 1, center: [0, 1.2, 0], radius: 0.01}}
- {name: object, mesh: visual_hull}"""


@pytest.mark.parametrize(("mesh", "flattens"), [("mesh: visual_hull", True), (KEPT, False), (AMONG_OTHERS, True)])
def test_a_carved_box_has_a_flat_bottom(mesh: str, flattens: bool, tmp_path: Path) -> None:
    learned = "objects.object.mesh.vertices" if mesh == AMONG_OTHERS else "mesh.vertices"
    scene = SCENE.replace("\nmesh: visual_hull", f"\n{mesh}").replace("mesh.vertices", learned)
    if mesh == AMONG_OTHERS:
        scene = scene.replace("steps: 60", "steps: 60, objects.ball.mesh.vertices: off")
    outcome = run_fit(parse_config(scene, tmp_path), "box", None, tmp_path)
    vertices = load_scene(outcome.folder / SCENE_FILE)[0].objects["object"].mesh.vertices
    below = vertices[(vertices[:, 1] < 0) & (vertices[:, [0, 2]].abs().amax(1) < 0.35), 1]
    assert (FLATTENED in json.loads((outcome.folder / "manifest.json").read_text())["notes"]) == flattens
    bulge = -0.5 - float(below.mean())
    assert len(below) > 30 and (bulge < 0.08 if flattens else bulge > 0.15)


@pytest.mark.parametrize(
    ("error", "why"), [(ValueError("a singular matrix"), "a singular matrix"), (KeyboardInterrupt(), "interrupted")]
)
def test_a_fit_is_written_even_if_what_no_view_shows_stays(
    error: BaseException, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("diffrender.app.run.flatten_unseen", fail)
    monkeypatch.setattr("diffrender.app.run.fill_unseen_texels", fail)
    outcome = run_fit(parse_config(SCENE.replace("steps: 60", "steps: 51"), tmp_path), "box", None, tmp_path)
    notes = json.loads((outcome.folder / "manifest.json").read_text())["notes"]
    assert f"what no view shows could not be flattened: {why}" in notes
    assert f"texels that no view shows could not be filled: {why}" in notes
    assert (outcome.folder / SCENE_FILE).is_file()
