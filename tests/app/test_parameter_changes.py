from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from diffrender.app.parameter_changes import describe_parameter_changes, learned_values
from diffrender.config.load import load_config
from diffrender.fit.loop import FitResult
from diffrender.geometry.primitives import icosphere
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.scene.mesh import Mesh
from diffrender.scene.parameter_paths import get_value, replace_values
from diffrender.scene.textures.bake import unwrap_mesh
from diffrender.setup.fit_setup import FitSetup, build_fit
from diffrender.writers.report.report import LearnedValue

SCENE = """
targets: {resolution: 8, synthetic: {mesh: {init: sphere, radius: 0.8, subdivisions: 1}, views: 4, samples: 1}}
mesh: {subdivisions: 1}
lights: [{name: key, type: directional, radiance: 3}]
material: {type: lambert, base_color: [0.5, 0.5, 0.5]}
optimize: {steps: 1, mesh.vertices: , material.base_color: , lights.key.direction: , pose: , cameras.pose: }
"""


@pytest.fixture
def setup(tmp_path: Path) -> FitSetup:
    scene = tmp_path / "small.yaml"
    scene.write_text(SCENE)
    return build_fit(load_config(scene))


def rows(setup: FitSetup, changes: dict[str, torch.Tensor]) -> dict[str, LearnedValue]:
    scene, cameras = replace_values(setup.scene, setup.fit_views.cameras, changes)
    result = FitResult(scene, cameras, "finished", None, 1, 1.0)
    return {row.path: row for row in describe_parameter_changes(setup, result, {})}


def value(setup: FitSetup, path: str) -> torch.Tensor:
    return get_value(setup.scene, setup.fit_views.cameras, path)


def test_few_numbers_are_listed_and_colours_shown(setup: FitSetup) -> None:
    found = rows(setup, {"material.base_color": torch.tensor([1.0, 0.0, 0.216]),
                         "lights.key.direction": torch.tensor([0.0, -0.6, 0.8])})  # fmt: skip
    color = found["material.base_color"]
    assert (color.before, color.after) == ("0.5, 0.5, 0.5", "1, 0, 0.216")
    assert (color.before_color, color.after_color) == ("#bcbcbc", "#ff0080")
    light = found["lights.key.direction"]
    assert light.after == "0, -0.6, 0.8" and light.after_color is None


def test_few_numbers_are_found_in_metrics_in_the_users_world(setup: FitSetup) -> None:
    pose = torch.eye(4)
    pose[:3, 3] = torch.tensor([1.0, 2.0, 3.0])
    scene, cameras = replace_values(setup.scene, setup.fit_views.cameras, {"pose": pose})
    result = FitResult(scene, cameras, "finished", None, 1, 1.0)
    found = learned_values(replace(setup, origin=(1000.0, 0.0, 0.0)), result)
    assert found.keys() == {"material.base_color", "lights.key.direction", "pose"}
    assert found["pose"] == [[1, 0, 0, 1001], [0, 1, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]
    assert found["material.base_color"] == [0.5] * 3


def test_many_numbers_are_described_by_how_far_they_moved(setup: FitSetup) -> None:
    vertices = value(setup, "mesh.vertices").clone()
    vertices[0] += torch.tensor([0.0, 0.3, 0.4])
    words = rows(setup, {"mesh.vertices": vertices})["mesh.vertices"].words
    assert words == f"42 vertices; moved by {0.5 / 42:.3g} on average, at most 0.5"


def test_a_remeshed_object_is_described_by_its_counts(setup: FitSetup) -> None:
    item = replace(setup.scene.objects["object"], mesh=Mesh(*icosphere(2)))
    scene = replace(setup.scene, objects={"object": item})
    result = FitResult(scene, setup.fit_views.cameras, "finished", None, 1, 1.0)
    row = next(row for row in describe_parameter_changes(setup, result, {}) if row.path == "mesh.vertices")
    assert (row.before, row.after) == ("42 vertices", "162 vertices")


TEXTURED = SCENE.replace("[0.5, 0.5, 0.5]", "{texture: 0.5, resolution: 16}").replace(
    "mesh.vertices: ", "mesh.vertices: {remesh: {when: [1], unwrap: UNWRAP}}"
)


@pytest.mark.parametrize("unwrap", [True, False])
def test_textures_are_not_compared_across_layouts(tmp_path: Path, unwrap: bool) -> None:
    (tmp_path / "textured.yaml").write_text(TEXTURED.replace("steps: 1", "steps: 2").replace("UNWRAP", str(unwrap)))
    setup = build_fit(load_config(tmp_path / "textured.yaml"))
    assert rows(setup, {})["material.base_color"].words == "768 numbers; changed by 0 on average, at most 0"
    item = setup.scene.objects["object"]
    scene = replace(setup.scene, objects={"object": replace(item, mesh=unwrap_mesh(Mesh(*icosphere(2)), 16))})
    result = FitResult(scene, setup.fit_views.cameras, "finished", None, 2, 1.0)
    words = next(
        row.words for row in describe_parameter_changes(setup, result, {}) if row.path == "material.base_color"
    )
    expected = "transferred to new texture coordinates" if unwrap else "changed by 0 on average, at most 0"
    assert words == f"768 numbers; {expected}"


def test_poses_are_described_in_degrees_and_lengths(setup: FitSetup) -> None:
    turn = torch.eye(4)
    turn[:3, :3] = axis_angle_to_matrix(torch.tensor([0.0, math.radians(12.5), 0.0]))
    turn[:3, 3] = torch.tensor([0.0, 0.3, 0.4])
    cameras = value(setup, "cameras.pose").clone()
    # Two of three cameras move back by 0.3 along their own axis.
    cameras[:2, 2, 3] += 0.3
    found = rows(setup, {"pose": turn @ value(setup, "pose"), "cameras.pose": cameras})
    assert found["pose"].words == "world from object, in world units; turned by 12.5 degrees and moved by 0.5"
    cosine, sine = math.cos(math.radians(12.5)), math.sin(math.radians(12.5))
    lines = [[cosine, 0, sine, 0], [0, 1, 0, 0.3], [-sine, 0, cosine, 0.4], [0, 0, 0, 1]]
    assert found["pose"].after == "\n".join(", ".join(f"{x:.5g}" for x in line) for line in lines)
    words = "3 poses; turned by 0 degrees and moved by 0.2 on average; all are in cameras/transforms.json;"
    words += " off by 0 degrees and 0.2 on average"
    assert found["cameras.pose"].words == words


SMALL = (
    SCENE[: SCENE.index("lights:")]
    + """
lights:
  - {name: lamp, type: spot, position: [0, 3, 0], direction: [0, -1, 0], intensity: 3}
  - {name: head, type: point, frame: camera, position: [0, -1, 0]}
  - {name: sky, type: environment, resolution: 16}
  - {name: fill, type: spherical_harmonics}
optimize: {steps: 1, pose: , scale: , cameras.focal: , lights.lamp.position: , lights.lamp.direction: ,
  lights.lamp.outer_deg: , lights.lamp.intensity: , lights.head.position: , lights.sky.rotation: ,
  lights.fill.coefficients: }
"""
)


@pytest.fixture
def small(tmp_path: Path) -> FitSetup:
    (tmp_path / "small.yaml").write_text(SMALL)
    return build_fit(load_config(tmp_path / "small.yaml"))


def test_small_values_have_their_units(small: FitSetup) -> None:
    focal = value(small, "cameras.focal") * 0 + torch.tensor([[9.0], [10.0], [11.5]])
    changes = {"cameras.focal": focal, "lights.lamp.direction": torch.tensor([-1.0, 0.0, 0.0]),
               "lights.sky.rotation": torch.tensor([0.0, math.radians(-30), 0.0])}  # fmt: skip
    found = rows(small, changes)
    names = small.fit_views.names
    listed = ", ".join(f"{name} {f:.2f} {f:.2f}" for name, f in zip(names, (9, 10, 11.5), strict=True))
    start = float(value(small, "cameras.focal")[0, 0])
    assert found["cameras.focal"] == LearnedValue(
        "cameras.focal", f"{start:.2f} {start:.2f}", listed, f"pixels, x and y; off by {abs(9 - start):.2g}"
    )
    assert found["lights.lamp.direction"].words == "turned by 90 degrees"
    sky = found["lights.sky.rotation"]
    assert (sky.before, sky.words) == ("0 degrees about (0, 1, 0)", "turned by 30 degrees")
    assert sky.after == "30 degrees about (0, -1, 0)"
    units = {"lights.lamp.outer_deg": "degrees", "lights.lamp.intensity": "linear RGB",
             "lights.lamp.position": "world units", "scale": "times the size of the mesh"}  # fmt: skip
    assert {path: found[path].words for path in units} == units
    assert found["lights.fill.coefficients"].after.count("\n") == 8


def test_positions_are_those_of_the_users_world(small: FitSetup) -> None:
    found = rows(replace(small, origin=(1000.0, 0.0, -20.0)), {})
    assert found["lights.lamp.position"].after == "1000, 3, -20"
    assert found["lights.head.position"].after == "0, -1, 0"
    assert [line.split(", ")[3] for line in found["pose"].after.split("\n")] == ["1000", "0", "-20", "1"]
