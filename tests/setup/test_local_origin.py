"""Captures far from the world's origin, and in any unit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from support.small_runs import run_small
from torch import Tensor

from diffrender.config.load import parse_config
from diffrender.config.resolved import format_resolved
from diffrender.errors import ConfigError
from diffrender.geometry.orbits import sphere_positions
from diffrender.geometry.primitives import bumpy_sphere
from diffrender.readers.captures import read_capture
from diffrender.readers.captures.capture import CaptureOptions
from diffrender.readers.gltf.scene import read_gltf_scene
from diffrender.readers.meshes.read_mesh import read_mesh
from diffrender.render.render import render
from diffrender.scene.cameras import Cameras
from diffrender.scene.materials import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.setup.fit_setup import FitSetup, build_fit
from diffrender.writers.cameras import world_from_opengl_cameras

UTM = (500000.25, 4649776.5, 30.125)
TARGETS = "targets: {path: ., test_every: null}\noptimize: {steps: 2, mesh.vertices: {}}\n"


def capture(folder: Path, size: float = 1.0, origin: tuple[float, ...] = (0.0, 0.0, 0.0)) -> Path:
    """A capture of a lobed ball; size: world units per unit of the ball."""
    folder.mkdir(parents=True, exist_ok=True)
    cameras = Cameras.perspective(sphere_positions(6, 3.0, (0, 0, 0), -40, 60), fov_deg=40, height=32, width=32)
    ball = Object(Mesh(*bumpy_sphere(2)), Unlit(torch.full((3,), 0.5)))
    with torch.no_grad():
        rgba = render(Scene({"a": ball}), cameras).rgba
    frames = []
    for index, pose in enumerate(world_from_opengl_cameras(cameras)):
        Image.fromarray((rgba[index] * 255).round().byte().numpy(), "RGBA").save(folder / f"{index}.png")
        pose[:3, 3] = pose[:3, 3] * size + torch.tensor(origin, dtype=torch.float64)
        frames.append({"file_path": f"{index}.png", "transform_matrix": pose.tolist()})
    content = {"fl_x": float(cameras.focal_px[0, 0]), "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(content))
    return folder


def setup_of(folder: Path, text: str = "") -> FitSetup:
    return build_fit(parse_config(TARGETS + text, folder))


def vertices(setup: FitSetup) -> Tensor:
    return setup.scene.objects["object"].vertices_w()


@pytest.mark.parametrize("size", [1e-6, 4e-4, 1e6])
def test_any_unit(tmp_path: Path, size: float) -> None:
    plain, scaled = setup_of(capture(tmp_path / "a")), setup_of(capture(tmp_path / "b", size))
    torch.testing.assert_close(vertices(scaled) / size, vertices(plain), rtol=1e-4, atol=1e-4)
    images = [setup.render_views(setup.scene, setup.fit_views.cameras).rgba for setup in (plain, scaled)]
    assert float(images[0][..., 3].mean()) > 0.05
    torch.testing.assert_close(images[1][..., 3], images[0][..., 3], rtol=0, atol=0.02)
    assert scaled.config.render.near == pytest.approx((plain.config.render.near or 0) * size, rel=1e-4)


def test_the_near_depth_is_an_option(tmp_path: Path) -> None:
    setup = setup_of(capture(tmp_path), "render: {near: 0.25}")
    assert setup.fit_views.cameras.near == setup.config.render.near == 0.25


PLACED = """
mesh: {{init: sphere, center: [{0}, {1}, {2}], radius: 0.5}}
material: lambert
lights:
  - {{name: bulb, type: point, position: [{3}, {1}, {2}], intensity: 9}}
  - {{name: lamp, type: point, position: [0, 1, 0], frame: camera}}
loss: {{image: l1, symmetry: {{weight: 0.1, point: [{0}, {1}, {2}]}}}}
"""


def test_positions_of_a_scene_file_are_those_of_the_world(tmp_path: Path) -> None:
    x, y, z = UTM
    near, far = (
        setup_of(capture(tmp_path / name, 1.0, origin), PLACED.format(*origin, origin[0] + 2))
        for name, origin in (("a", (0.0, 0.0, 0.0)), ("b", UTM))
    )
    origin = torch.tensor(far.origin, dtype=torch.float64)
    moved = torch.tensor(UTM, dtype=torch.float64) - origin
    assert near.origin == (0.0, 0.0, 0.0) and float(moved.norm()) < 3
    torch.testing.assert_close(vertices(far), vertices(near) + moved.float(), rtol=0, atol=1e-5)
    lights = far.scene.lights
    torch.testing.assert_close(lights["bulb"].position, moved.float() + torch.tensor([2.0, 0, 0]), rtol=0, atol=1e-5)
    assert lights["lamp"].position.tolist() == [0, 1, 0]
    (note,) = far.notes
    assert note.startswith("b: its cameras are far from the world's origin; the fit takes place about (5")

    # All defaults written out, in the world of the file, give the same setup again.
    again = build_fit(parse_config(format_resolved(far.config), tmp_path / "b"))
    torch.testing.assert_close(vertices(again), vertices(far), rtol=0, atol=1e-6)
    assert torch.equal(again.scene.lights["bulb"].position, lights["bulb"].position)
    assert far.config.lights[0].position == pytest.approx((x + 2, y, z), abs=1e-9)


def test_a_mesh_file_is_relative_to_the_world(tmp_path: Path) -> None:
    folder = capture(tmp_path, 1.0, UTM)
    ball = bumpy_sphere(2)
    points = (ball.vertices.double() + torch.tensor(UTM, dtype=torch.float64)).tolist()
    obj_file(folder / "ball.obj", 1.0, UTM)
    setup = setup_of(folder, "mesh: ball.obj")
    moved = torch.tensor(UTM, dtype=torch.float64) - torch.tensor(setup.origin, dtype=torch.float64)
    torch.testing.assert_close(vertices(setup), ball.vertices + moved.float(), rtol=0, atol=1e-6)
    again = build_fit(parse_config(format_resolved(setup.config), folder))
    assert torch.equal(vertices(again), vertices(setup))

    alone = read_mesh(folder / "ball.obj")
    assert alone.mesh.vertices.dtype == torch.float64 and alone.mesh.n_vertices == len(ball.vertices)
    torch.testing.assert_close(alone.mesh.vertices, torch.tensor(points, dtype=torch.float64), rtol=0, atol=0)
    assert "kept in float64" in alone.notes[0]


def obj_file(path: Path, size: float, origin: tuple[float, ...]) -> None:
    ball = bumpy_sphere(2)
    points = (ball.vertices.double() * size + torch.tensor(origin, dtype=torch.float64)).tolist()
    lines = [f"v {x!r} {y!r} {z!r}" for x, y, z in points] + [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in ball.faces]
    path.write_text("\n".join(lines))


SYNTHETIC = """
targets: {{resolution: 32, test_every: null, synthetic: {{mesh: ball.obj, material: unlit, views: 3{0}}}}}
mesh: {{init: sphere}}
material: unlit
optimize: {{steps: 2, mesh.vertices: {{}}}}
"""


def synthetic(folder: Path, options: str, size: float = 1.0, origin: tuple[float, ...] = (0.0, 0.0, 0.0)) -> FitSetup:
    obj_file(folder / "ball.obj", size, origin)
    return build_fit(parse_config(SYNTHETIC.format(options), folder))


@pytest.mark.parametrize(
    ("size", "origin", "options"),
    [
        (1.0, UTM, ", normalize: true"),
        (1e-9, (0.0, 0.0, 0.0), ", normalize: true"),
        (1.0, UTM, f", center: [{UTM[0]}, {UTM[1]}, {UTM[2]}]"),
        (1.0, UTM, f", center: [{UTM[0]}, {UTM[1]}, {UTM[2]}], eye: [{UTM[0]}, {UTM[1]}, {UTM[2] + 3}]"),
    ],
)
def test_synthetic_targets_of_any_unit_and_place(
    tmp_path: Path, size: float, origin: tuple[float, ...], options: str
) -> None:
    plain = ", normalize: true" if "normalize" in options else ", eye: [0, 0, 3]" if "eye" in options else ""
    near, far = synthetic(tmp_path, plain), synthetic(tmp_path, options, size, origin)
    torch.testing.assert_close(far.fit_views.masks, near.fit_views.masks, rtol=0, atol=0.02)
    torch.testing.assert_close(vertices(far), vertices(near), rtol=0, atol=1e-4)
    assert far.origin == (origin if "center" in options else (0.0, 0.0, 0.0)) and far.notes == ()
    again = build_fit(parse_config(format_resolved(far.config), tmp_path))
    torch.testing.assert_close(vertices(again), vertices(far), rtol=0, atol=1e-6)


def test_lights_of_other_scores_are_where_the_scene_is(tmp_path: Path) -> None:
    x, y, z = UTM
    lit = f", center: [{x}, {y}, {z}], relight: [{{type: point, position: [{x + 2}, {y}, {z}], intensity: 9}}]"
    relit = synthetic(tmp_path, lit, 1.0, UTM).relit
    assert relit is not None
    (light,) = relit.lights.values()
    torch.testing.assert_close(light.position, torch.tensor([2.0, 0, 0]), rtol=0, atol=1e-5)


def test_synthetic_targets_that_no_camera_sees_are_refused_and_huge_ones_told(tmp_path: Path) -> None:
    for size, origin in ((1.0, UTM), (1e-9, (0.0, 0.0, 0.0))):
        with pytest.raises(
            ConfigError, match=r"targets\.synthetic: no camera sees an object; they are in the box from"
        ):
            synthetic(tmp_path, "", size, origin)
    (note,) = synthetic(tmp_path, "", 1e6).notes
    assert (
        note.startswith("the target objects are 1.8e+06 wide,")
        and "but the cameras 3 from `center`; set `normalize:" in note
    )


def test_results_are_in_the_world(tmp_path: Path) -> None:
    capture(tmp_path / "shots", 1.0, UTM)
    text = f"""
targets: {{path: {tmp_path / "shots"}, test_every: null}}
material: lambert
lights: [{{type: point, position: [{UTM[0] + 2}, {UTM[1]}, {UTM[2]}], intensity: 9}}]
optimize: {{steps: 2, mesh.vertices: {{}}}}
progress: {{pictures: 0, video: false, turntable: false}}
"""
    result, _ = run_small(text, tmp_path)
    folder, middle = result.folder, torch.tensor(UTM, dtype=torch.float64)
    found = read_mesh(folder / "mesh" / "final_obj" / "final.obj").mesh.vertices.double()
    torch.testing.assert_close(found.mean(0), middle, rtol=0, atol=0.1)
    assert float((found - middle).norm(dim=1).max()) < 1.5
    near = read_gltf_scene(folder / "mesh" / "final.glb", origin=UTM)
    torch.testing.assert_close(near.scene.objects["object"].vertices_w().double(), found - middle, rtol=0, atol=1e-5)
    torch.testing.assert_close(near.scene.lights["point"].position, torch.tensor([2.0, 0, 0]), rtol=0, atol=1e-5)
    frames = json.loads((folder / "cameras" / "transforms.json").read_text())["frames"]
    given = json.loads((tmp_path / "shots" / "transforms.json").read_text())["frames"]
    for frame, expected in zip(frames, given, strict=True):
        written, wanted = (torch.tensor(each["transform_matrix"], dtype=torch.float64) for each in (frame, expected))
        torch.testing.assert_close(written, wanted, rtol=0, atol=1e-5)
    (light,) = json.loads((folder / "lights" / "lights.json").read_text())["lights"]
    assert light["position"] == pytest.approx([UTM[0] + 2, UTM[1], UTM[2]], abs=1e-5)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["export"]["glb_psnr_db"] > 45


def test_cameras_that_were_rounded_before_they_were_written_are_told(tmp_path: Path) -> None:
    folder = capture(tmp_path, 1.0, UTM)
    content = json.loads((folder / "transforms.json").read_text())
    for frame in content["frames"]:
        for row in frame["transform_matrix"][:3]:
            row[3] = float(torch.tensor(row[3]))
    (folder / "transforms.json").write_text(json.dumps(content))
    _, told = read_capture(folder, CaptureOptions()).notes
    assert told.startswith("the coordinates of its cameras are multiples of a coarse step (x of 0.03125, y of 0.5;")
