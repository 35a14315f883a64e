from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.scene_mistakes import TARGETS, mistakes_in

from diffrender.config.load import load_config, parse_config
from diffrender.config.yaml_tree import write_yaml
from diffrender.errors import ConfigError


def test_only_targets_is_required(folder: Path) -> None:
    config = parse_config(TARGETS, folder)
    assert config.targets.path == str(folder / "shots")
    assert config.optimize.steps == 400
    assert config.export == ["obj", "glb"]


def test_the_shape_of_the_readme_is_read(folder: Path) -> None:
    config = parse_config(
        """
targets: {path: shots, resolution: 256, test_every: 8}
mesh: {init: sphere, subdivisions: 4}
material: {type: lambert, base_color: 0.5}
lights:
  - {name: key, type: directional, direction: [1, -1, -1], radiance: 2.0}
  - {name: fill, type: ambient, radiance: 0.3}
render: {edges: antialias}
optimize:
  steps: 400
  mesh.vertices: {lr: 0.01}
  material.base_color: {lr: 2e-2}
  lights.key.direction: {lr: 0.02, start: 100}
loss: {image: l1, mask: 1.0, laplacian: 0.1}
export: [obj, glb]
""",
        folder,
    )
    parameters = config.optimize.parameters()
    assert [options.lr for options in parameters.values()] == [0.01, 0.02, 0.02]
    assert config.material is not None
    assert config.material.base_color == (0.5, 0.5, 0.5)
    assert config.loss is not None
    assert config.loss.mask is not None
    assert config.loss.mask.weight == 1.0
    assert config.loss.edge_length is None


def test_a_block_whose_lines_are_commented_out_means_the_defaults(folder: Path) -> None:
    assert parse_config(TARGETS + "optimize:\nprogress:\nrender:\n", folder) == parse_config(TARGETS, folder)


@pytest.mark.parametrize("off", ["off", "false", "null", "~"])
def test_a_value_that_is_off_is_not_learned(folder: Path, off: str) -> None:
    config = parse_config(TARGETS + f"optimize: {{pose: {off}, scale: {{}}}}\n", folder)
    assert list(config.optimize.parameters()) == ["scale"]
    config = parse_config(TARGETS + "optimize: {pose: 0.1, scale: {}}\n", folder, overrides=[f"optimize.pose={off}"])
    assert list(config.optimize.parameters()) == ["scale"]
    config = parse_config(TARGETS + "optimize: {pose: , scale: {}}\n", folder)
    assert list(config.optimize.parameters()) == ["pose", "scale"]
    (mistake,) = mistakes_in(TARGETS + f"optimize: {{pos: {off}}}\n", folder)
    assert "did you mean `pose`?" in mistake


@pytest.mark.parametrize("shape", ["sphere", "ellipsoid", "visual_hull", "box", "bumpy", "torus"])
def test_a_shape_may_be_named_alone(folder: Path, shape: str) -> None:
    long = parse_config(TARGETS + f"mesh: {{init: {shape}}}\n", folder)
    assert parse_config(TARGETS + f"mesh: {shape}\n", folder) == long
    assert parse_config(TARGETS, folder, overrides=[f"mesh={shape}"]) == long


def test_a_word_that_is_no_shape_and_no_file_lists_the_shapes(folder: Path) -> None:
    (mistake,) = mistakes_in(TARGETS + "mesh: visual_hul\n", folder)
    assert "must be sphere, ellipsoid, visual_hull, stereo, box, bumpy, torus or a mesh file, got the text" in mistake
    assert "did you mean `visual_hull`?" in mistake
    (mistake,) = mistakes_in(TARGETS + "mesh: lost.obj\n", folder)
    assert "no such file" in mistake
    (mistake,) = mistakes_in("targets: {synthetic: {mesh: visual_hull}}\n", folder)
    assert "a target cannot be a `visual_hull`" in mistake


def test_set_is_checked_like_the_file(folder: Path) -> None:
    mistakes = mistakes_in(TARGETS, folder, "optimize.stepz=3", "optimize.pose.lr=0", "mesh.vertices.lr=1")
    assert "did you mean `steps`?" in "".join(mistakes)
    assert all(mistake.startswith("--set: ") for mistake in mistakes)
    config = parse_config(TARGETS, folder, overrides=["optimize.pose.lr=1e-3", "optimize.cameras.pose=0.5"])
    assert {path: options.lr for path, options in config.optimize.parameters().items()} == {
        "pose": 1e-3,
        "cameras.pose": 0.5,
    }


def test_files_are_relative_to_the_scene_file_but_those_of_set_to_the_working_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = folder / "work"
    work.mkdir()
    (work / "cube.obj").write_text("")
    (folder / "scene.yaml").write_text(TARGETS + "mesh: spot.obj\n")
    monkeypatch.chdir(work)
    assert load_config(folder / "scene.yaml").mesh.file == str(folder / "spot.obj")  # type: ignore[union-attr]
    assert load_config(folder / "scene.yaml", ["mesh=cube.obj"]).mesh.file == str(work / "cube.obj")  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="relative to the working folder"):
        load_config(folder / "scene.yaml", ["mesh=spot.obj"])


def test_a_scene_file_that_cannot_be_read_is_told(folder: Path) -> None:
    (folder / "scene.yaml").write_text(TARGETS)
    with pytest.raises(ConfigError, match=r"no such scene file.*did you mean `scene.yaml`\?"):
        load_config(folder / "scenes.yaml")
    with pytest.raises(ConfigError, match="must be a scene file, got a folder"):
        load_config(folder)
    (folder / "latin.yaml").write_bytes(b"mesh: caf\xe9.obj\n")
    with pytest.raises(ConfigError, match="byte 9 is not UTF-8"):
        load_config(folder / "latin.yaml")


SCENES = sorted((Path(__file__).parents[2] / "scenes").glob("*.yaml"))


@pytest.mark.parametrize("scene", SCENES, ids=lambda path: path.stem)
def test_the_scenes_that_come_along_are_right(scene: Path, folder: Path) -> None:
    needs_path = "\n  # path: " in scene.read_text(encoding="utf-8")
    config = load_config(scene, [f"targets.path={folder / 'shots'}"] if needs_path else [])
    assert config.targets.path == (str(folder / "shots") if needs_path else None)
    assert (config.targets.synthetic is None) == needs_path


def test_set_adds_to_a_shorthand(folder: Path) -> None:
    text = """
mesh: {init: box, subdivide: 1}
lights: [{type: point, shadow: 0.02}, {type: spot, shadow: true}]
optimize: {resolution: 0.25, mesh.vertices: {remesh: continuous}}
loss: {normal: l1}
"""
    overrides = [
        "mesh.subdivide.scheme=midpoint",
        "lights.point.shadow.resolution=64",
        "lights.spot.shadow.resolution=64",
        "optimize.resolution.until=50",
        "optimize.mesh.vertices.remesh.every=3",
        "loss.normal.weight=2",
    ]
    written_out = """
mesh: {init: box, subdivide: {times: 1, scheme: midpoint}}
lights: [{type: point, shadow: {softness: 0.02, resolution: 64}}, {type: spot, shadow: {resolution: 64}}]
optimize: {resolution: {scale: 0.25, until: 50}, mesh.vertices: {remesh: {when: continuous, every: 3}}}
loss: {normal: {type: l1, weight: 2}}
"""
    assert parse_config(TARGETS + text, folder, overrides=overrides) == parse_config(TARGETS + written_out, folder)


# Random values anywhere in the schema are either read or raise ConfigError, never another exception.
WORDS = """targets path synthetic mesh init file material type base_color vertex texture pose rotation axis objects name
lights radiance direction optimize steps lr start stop schedule method mesh.vertices lights.a.radiance loss image mask
export device aabb elevation_deg segments radius tube weight test_every background"""
KEYS = st.sampled_from(WORDS.split())
TEXTS = ["sphere", "torus", "l1", "lambert", "a", "a.b", "", "auto", "<lambert>", "own", "spot.obj", "yes", "x: y", "["]
VALUES = st.none() | st.booleans() | st.integers(-3, 9) | st.floats() | st.sampled_from(TEXTS)
ANYTHING = st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(KEYS, ANYTHING, max_size=5), st.lists(st.tuples(st.lists(KEYS, max_size=3), ANYTHING), max_size=2)
)
def test_nothing_but_a_config_error_comes_out(data: dict[str, object], sets: list[tuple[list[str], object]]) -> None:
    overrides = [f"{'.'.join(keys)}={json.dumps(value)}" for keys, value in sets]
    try:
        parse_config(write_yaml(data), Path("/nowhere"), "s.yaml", overrides)
    except ConfigError as error:
        assert "mistake" in str(error)
