"""What `diffrender inspect` says of meshes and captures."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from diffrender.app.cli import app
from diffrender.app.inspect_file import inspect_file
from diffrender.errors import DataError
from diffrender.geometry.primitives import box, icosphere
from diffrender.scene.materials import Ggx
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.writers.gltf.scene import GlbObject, write_glb
from diffrender.writers.meshes.obj import write_obj


def shown(path: Path) -> str:
    text = io.StringIO()
    inspect_file(path, Console(file=text, width=160))
    return " ".join(text.getvalue().split())


def test_a_mesh_file(tmp_path: Path) -> None:
    cube = Mesh(*box((1.0, 2.0, 3.0))).with_crease(0)
    write_glb(tmp_path / "a.glb", [GlbObject.of("a", Object(cube, Ggx(torch.tensor([0.2, 0.4, 0.6]))))])
    text = shown(tmp_path / "a.glb")
    for words in (
        "size 1 x 2 x 3, in the unit of the file",
        "from, to (-0.5, -1, -1.5) to (0.5, 1, 1.5)",
        "colour one per vertex",
        "normals 24, with hard edges",
        "texture coordinates none",
        "metallic 0, roughness 0.5",
        "8 vertices and 12 faces, 1 part, no handles. Watertight; it encloses a volume of 6.",
    ):
        assert words in text
    assert "fault" not in text and "note" not in text


def test_places_far_away_have_the_digits_that_tell_them_apart(tmp_path: Path) -> None:
    corners = ("500000 4649776 30", "500001.25 4649776 30", "500000 4649776.5 30")
    (tmp_path / "a.obj").write_text("".join(f"v {corner}\n" for corner in corners) + "f 1 2 3\n")
    assert "from, to (500000, 4649776, 30) to (500001.25, 4649776.5, 30)" in shown(tmp_path / "a.obj")


def test_a_file_of_another_kind_is_refused_as_a_mesh(tmp_path: Path) -> None:
    (tmp_path / "a.fbx").write_bytes(b"Kaydara FBX Binary")
    with pytest.raises(DataError, match=r"a\.fbx: unknown mesh format \.fbx; it must be one of \.obj, \.ply, "):
        shown(tmp_path / "a.fbx")


def test_faults_and_notes_are_named(tmp_path: Path) -> None:
    ball = icosphere(1)
    write_obj(tmp_path / "in.obj", Mesh(ball.vertices, ball.faces.flip(1)))
    assert "fault It is turned inside out: its faces are clockwise seen from outside." in shown(tmp_path / "in.obj")
    (tmp_path / "a.obj").write_text("mtllib lost.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    text = shown(tmp_path / "a.obj")
    assert "fault Not watertight: 3 open edges." in text
    assert "note the material library lost.mtl does not exist" in text and "normals none: smooth ones are made" in text


def test_a_capture(tmp_path: Path) -> None:
    frames = []
    for index, x in enumerate((0.0, 5.0)):
        pixels = np.zeros((6, 8, 4), np.uint8)
        pixels[1:5, 2:6] = 255
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
        pose = [[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 5], [0, 0, 0, 1]]
        turned = [[0.0, 0, 1, 5], [0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1]]
        frames.append({"file_path": f"{index}.png", "transform_matrix": turned if x else pose})
    (tmp_path / "transforms.json").write_text(json.dumps({"fl_x": 10.0, "frames": frames}))
    text = shown(tmp_path)
    for words in (
        "images 2 of 8 x 6",
        "masks 33% object",
        "focal length 10 px",
        "held out every 8th view",
        "cameras from it 5,",
        "camera PINHOLE,",
    ):
        assert words in text
    frames[1] |= {"camera_model": "OPENCV_FISHEYE", "k1": 0.01}
    (tmp_path / "transforms.json").write_text(json.dumps({"fl_x": 10.0, "frames": frames}))
    assert "camera PINHOLE and OPENCV_FISHEYE, focal length 10 px" in shown(tmp_path)


def test_photometric_stereo_holds_nothing_out_and_has_parallel_rays(tmp_path: Path) -> None:
    for name in ("ball.0.png", "ball.1.png", "ball.mask.png"):
        Image.fromarray(np.full((8, 8, 3), 255, np.uint8)).save(tmp_path / name)
    text = shown(tmp_path)
    assert "held out none" in text and "camera ORTHOGRAPHIC, 4 pixels per unit" in text


def test_cameras_in_other_axes_are_a_fault_of_a_capture_and_no_size_is_given(tmp_path: Path) -> None:
    pixels = np.full((6, 8, 4), 255, np.uint8)
    pixels[0] = 0
    poses = ([[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 5]], [[0.0, 0, -1, 5], [0, -1, 0, 0], [-1, 0, 0, 0]])
    frames = []
    for index, pose in enumerate(poses):
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
        frames.append({"file_path": f"{index}.png", "transform_matrix": pose})
    (tmp_path / "transforms.json").write_text(json.dumps({"fl_x": 10.0, "frames": frames}))
    text = shown(tmp_path)
    assert "fault its cameras look away from each other" in text and "OpenCV axes" in text
    assert "radius" not in text


@pytest.mark.parametrize("name", ["none.obj", "none"])
def test_what_cannot_be_read_is_one_line(tmp_path: Path, name: str) -> None:
    result = CliRunner().invoke(app, ["inspect", str(tmp_path / name)])
    assert result.exit_code == 1 and result.stderr.startswith(f"error: {tmp_path / name}: ")
    assert result.stderr.count("\n") == 1
