from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.lenses import KINDS, lens
from support.material_kinds import cameras, exported_objects, lit_scene, smooth
from support.small_runs import run_small
from typer.testing import CliRunner

from diffrender.app.cli import app
from diffrender.app.relight import read_lights
from diffrender.app.turntable import rotate_objects, upward, write_turntable
from diffrender.errors import DataError
from diffrender.imaging.tone_mapping import Display
from diffrender.render.render import render
from diffrender.scene.environment.env_map import EnvMap
from diffrender.scene.lights import Directional, Point
from diffrender.scene.materials import MATERIALS
from diffrender.scene.object import Object
from diffrender.scene.projections import PROJECTIONS
from diffrender.scene.textures.texture import Texture
from diffrender.setup.saved_scene import SavedScene, load_scene, save_scene
from diffrender.writers.images.float_images import write_hdr_image
from diffrender.writers.images.png import encode_srgb8

OBJECTS = exported_objects()
SCENE = """
targets: {resolution: 16, synthetic: {mesh: {init: bumpy, subdivisions: 1}, views: 4, samples: 1}}
mesh: {subdivisions: 1}
material: lambert
lights: [{name: key, type: directional, radiance: 3}]
optimize: {steps: 1, mesh.vertices: 0.01}
progress: {pictures: 0, video: false, turntable: false}
export: []
"""


def fitted(tmp_path: Path, *overrides: str) -> Path:
    return run_small(SCENE, tmp_path, *overrides)[0].folder


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["relight", *map(str, arguments)])


def assert_same(first: Any, second: Any) -> None:
    assert type(first) is type(second)
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, Texture | EnvMap) or dataclasses.is_dataclass(first):
        for field in dataclasses.fields(first):  # type: ignore[arg-type]
            if field.name != "topology":  # derived from the faces
                assert_same(getattr(first, field.name), getattr(second, field.name))
    else:
        assert first == second


@pytest.mark.parametrize("kind", [*OBJECTS, *MATERIALS])
def test_scenes_come_back_to_the_last_bit(tmp_path: Path, kind: str) -> None:
    item = OBJECTS.get(kind) or Object(OBJECTS["lambert"].mesh, MATERIALS[kind]())
    scene = lit_scene(item)
    save_scene(tmp_path / "scene.pt", SavedScene(scene, cameras()))
    again, seen_by, *_ = load_scene(tmp_path / "scene.pt")
    assert list(again.lights) == list(scene.lights) and list(again.objects) == ["thing"]
    for name, light in scene.lights.items():
        assert_same(light, again.lights[name])
    for part in ("mesh", "material", "pose", "scale"):
        assert_same(getattr(item, part), getattr(again.objects["thing"], part))
    assert torch.equal(render(scene, cameras()).rgba, render(again, seen_by).rgba)


def test_per_view_exposures_are_saved(tmp_path: Path) -> None:
    seen_by = cameras()
    count = torch.arange(len(seen_by))
    taken = dataclasses.replace(
        seen_by, number=count, exposure=0.5 - count, white_balance=torch.rand(len(seen_by), 3) + 0.5
    )
    save_scene(tmp_path / "scene.pt", SavedScene(lit_scene(OBJECTS["lambert_vertex"]), taken))
    assert_same(load_scene(tmp_path / "scene.pt")[1], taken)


@pytest.mark.parametrize("name", KINDS)
def test_projections_are_saved_with_their_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(PROJECTIONS, name, KINDS[name])
    taken = dataclasses.replace(cameras(), projection=lens(KINDS[name], len(cameras()), torch.float32))
    save_scene(tmp_path / "scene.pt", SavedScene(lit_scene(OBJECTS["lambert_vertex"]), taken))
    assert_same(load_scene(tmp_path / "scene.pt")[1], taken)


def test_damaged_scenes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a readable scene file"):
        load_scene(tmp_path / "scene.pt")
    torch.save({"format": 99}, tmp_path / "scene.pt")
    with pytest.raises(DataError, match="format must be 2, got 99"):
        load_scene(tmp_path / "scene.pt")
    with pytest.raises(DataError, match="cannot be written"):
        save_scene(tmp_path / "no" / "scene.pt", SavedScene(lit_scene(OBJECTS["ggx"]), cameras()))


def test_a_run_is_relit_by_an_environment_and_by_lights(tmp_path: Path) -> None:
    run = fitted(tmp_path, "targets.synthetic.exposure_stops=1", "optimize.cameras.exposure=0.5")
    sky = smooth(3, 32, high=2.0)[:16]
    write_hdr_image(tmp_path / "it's a sky.exr", sky)
    result = invoke(run, "--env", tmp_path / "it's a sky.exr", "--rotation", 90)
    assert result.exit_code == 0, result.output
    assert f"relit: {run.resolve() / 'relight'}" in result.output
    names = sorted(path.name for path in (run / "relight").iterdir())
    assert names == ["relight.mp4", "view_000.png", "view_001.png", "view_002.png"]

    lamp = "{type: directional, direction: [1, 0, 0], radiance: [2, 1, 0]}"
    result = invoke(run, "--light", lamp, "--light", "{type: ambient, radiance: 0.1}", "--out", tmp_path / "lamp")
    assert result.exit_code == 0, result.output
    scene, seen_by, *_ = load_scene(run / "scene.pt")
    assert isinstance(scene.lights["key"], Directional)
    lights = {"lamp": Directional(torch.tensor([1.0, 0, 0]), torch.tensor([2.0, 1, 0]))}
    from diffrender.scene.lights import Ambient

    lights["haze"] = Ambient(torch.full((3,), 0.1))
    # Exposures of photographs do not apply to other lights.
    assert seen_by.exposure is not None and float(seen_by.exposure.abs().min()) > 0.1
    expected = encode_srgb8(render(dataclasses.replace(scene, lights=lights), seen_by.without_gains()).rgba[0, ..., :3])
    found = np.asarray(Image.open(tmp_path / "lamp" / "view_000.png"))
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1
    result = invoke(run, "--light", lamp, "--exposure", 2, "--tone", "neutral", "--out", tmp_path / "bright")
    assert result.exit_code == 0, result.output
    lamp_only = dataclasses.replace(scene, lights={"lamp": lights["lamp"]})
    image = render(lamp_only, seen_by.without_gains()).rgba[0, ..., :3]
    expected = encode_srgb8(Display(2.0, "neutral").map_tones(image))
    bright = np.asarray(Image.open(tmp_path / "bright" / "view_000.png"))
    assert np.abs(bright.astype(int) - expected.astype(int)).max() <= 1
    assert not np.array_equal(found, np.asarray(Image.open(run / "relight" / "view_000.png")))


def test_lights_are_placed_in_the_world_of_the_user() -> None:
    lamp = read_lights(None, ["{type: point, position: [500001, 3, -4]}"], origin=(500000.0, 1.0, 0.0))["point"]
    assert isinstance(lamp, Point) and lamp.position.tolist() == [1, 2, -4]


def test_runs_that_cannot_be_relit_are_refused(tmp_path: Path) -> None:
    run = fitted(tmp_path)

    def refused(*arguments: object) -> str:
        result = invoke(*arguments)
        assert result.exit_code == 1 and "Traceback" not in result.output
        return " ".join(result.output.split())

    assert "needs a light; give --env" in refused(run)
    assert "no such folder" in refused(tmp_path / "nowhere", "--env", "a.hdr")
    assert "environment map does not exist" in refused(run, "--env", tmp_path / "missing.hdr")
    (tmp_path / "bad.hdr").write_text("no picture")
    assert "bad.hdr" in refused(run, "--env", tmp_path / "bad.hdr")
    assert "--light" in refused(run, "--light", "{type: area}")
    (run / "scene.pt").unlink()
    assert "the run has not ended; resume it" in refused(run, "--light", "ambient")
    assert "tone must be one of clip, neutral, got 'vivid'" in refused(run, "--light", "ambient", "--tone", "vivid")
    unlit = fitted(tmp_path, "material=unlit", "lights=[]")
    assert "cannot be relit: the material is unlit" in refused(unlit, "--light", "{type: ambient}")


def test_objects_turn_about_their_middle_and_come_back() -> None:
    scene = lit_scene(OBJECTS["lambert_vertex"])
    up, center = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.5, 0.0, 0.0])
    quarter = rotate_objects(scene, up, center, torch.pi / 2).objects["thing"].vertices_w()
    x, y, z = (scene.objects["thing"].vertices_w() - center).unbind(1)
    torch.testing.assert_close(quarter, torch.stack([z, y, -x], 1) + center, atol=1e-6, rtol=1e-5)
    assert (
        rotate_objects(scene, up, center, 1.0).lights is scene.lights
        or rotate_objects(scene, up, center, 1.0).lights == scene.lights
    )
    torch.testing.assert_close(upward(cameras())[1], torch.tensor(0.9), atol=0.15, rtol=0)


def test_a_turntable_shows_the_whole_object_all_the_way_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[np.ndarray] = []
    monkeypatch.setattr("diffrender.app.turntable.write_video", lambda frames, *_: shown.extend(frames))
    item = dataclasses.replace(OBJECTS["lambert_vertex"], scale=torch.tensor(0.2))
    item.pose.data[0, 3] = 0.0
    scene = dataclasses.replace(lit_scene(item), background=torch.zeros(3))
    write_turntable(tmp_path / "a.mp4", scene, cameras(), render, frames=4)
    assert len(shown) == 4 and shown[0].shape == (274, 320, 3)
    for frame in shown:
        lit = frame.any(-1)
        assert lit.mean() > 0.2
        assert not lit[0].any() and not lit[-1].any() and not lit[:, 0].any() and not lit[:, -1].any()
    assert not np.array_equal(shown[0], shown[2])
