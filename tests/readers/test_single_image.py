"""One photograph: the camera that is assumed, its focal length by EXIF, and a pose that is found with it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from support.any_capture import fails, read
from support.shapes import bumpy, placed, scene_of

from diffrender.config.load import parse_config
from diffrender.fit.loop import fit
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.readers.captures.synthetic import synthetic_views
from diffrender.scene.materials import Unlit
from diffrender.setup.fit_setup import build_fit
from diffrender.writers.images.png import write_png
from diffrender.writers.meshes.ply import write_ply


def photograph(path: Path, size: tuple[int, int] = (90, 60), focal_35: float | None = None, turn: int = 1) -> Path:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    if focal_35 is not None:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = focal_35
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def test_the_camera_sees_a_ball_of_radius_one_upright(tmp_path: Path) -> None:
    capture = read(photograph(tmp_path / "a.png"))
    cameras = capture.views.cameras
    assert len(capture.views) == 1 and not capture.holds_out and capture.views.names == ("a",)
    distance = float(cameras.positions_w()[0, 2])
    assert cameras.positions_w()[0, :2].tolist() == [0, 0]
    focal = 45 / math.tan(math.radians(55 / 2))
    torch.testing.assert_close(cameras.focal_px, torch.full((1, 2), focal))
    # The rim of the ball that touches the lower and upper border.
    rim = torch.tensor([[0.0, math.sqrt(1 - 1 / distance**2), 1 / distance], [0.5, 0.0, 0.0]])
    (upper, right) = cameras.world_to_pixels(rim)[0, :, :2].tolist()
    assert upper == pytest.approx([45, 0], abs=1e-4) and right[0] > 45 and right[1] == pytest.approx(30)
    assert (
        "from (0, 0, 3.05), with a field of view of 55.0 degrees along the long side (a usual one" in capture.notes[0]
    )


def test_the_focal_length_is_that_of_exif_or_stated(tmp_path: Path) -> None:
    file = photograph(tmp_path / "a.jpg", focal_35=28)
    capture = read(file)
    # The diagonal of 43.27 mm is that of 108.2 pixels.
    expected = torch.full((1, 2), 28 / 43.2666 * 108.1665)
    torch.testing.assert_close(capture.views.cameras.focal_px, expected, rtol=1e-5, atol=0)
    assert "(by its EXIF)" in capture.notes[0]
    # What no lens has is no focal length.
    assert "(a usual one" in read(photograph(tmp_path / "b.jpg", focal_35=9999)).notes[0]
    stated = read(file, fov_deg=90, resolution=30)
    torch.testing.assert_close(stated.views.cameras.focal_px, torch.full((1, 2), 15.0))
    assert "90.0 degrees along the long side (as stated)" in stated.notes[0]
    for wrong in (0, 10**9):
        assert "(a usual one" in read(photograph(tmp_path / "b.jpg", focal_35=wrong)).notes[0]


def test_it_is_turned_as_viewers_show_it(tmp_path: Path) -> None:
    views = read(photograph(tmp_path / "a.jpg", turn=6)).views
    assert (views.cameras.height, views.cameras.width) == (90, 60)
    assert views.cameras.center_px.tolist() == [[30, 45]]


def test_a_field_of_view_is_only_of_one_photograph(tmp_path: Path) -> None:
    parse_config(f"targets: {{path: {photograph(tmp_path / 'a.png')}, fov_deg: 30}}", tmp_path)
    (tmp_path / "transforms.json").write_text("{}")
    fails(tmp_path, "has cameras; remove targets.fov_deg", fov_deg=30.0)
    (tmp_path / "b.png").write_bytes(b"\x89PNG")
    fails(tmp_path / "b.png", "b.png")


POSED = """
targets: {path: photo.png, fov_deg: 40}
mesh: truth.ply
material: {type: unlit, base_color: own}
pose: {translation: [-0.1, 0.05, 0.1], rotation: {axis: [0, 1, 0], degrees: 15}}
optimize: {method: levenberg_marquardt, pose: {}}
loss: {mask: null}
"""


@pytest.mark.slow
def test_the_pose_of_a_known_object_is_found_in_one_photograph(tmp_path: Path) -> None:
    mesh = bumpy(4)
    colors = 0.5 + 0.4 * (5 * mesh.vertices).sin()
    write_ply(tmp_path / "truth.ply", mesh, Unlit(colors).to_gltf().base_color)
    photograph(tmp_path / "blank.png", (96, 96))
    camera = read(tmp_path / "blank.png", fov_deg=40.0).views.cameras
    turn = axis_angle_to_matrix(torch.tensor([0.1, 0.3, -0.2]))
    moved = replace(mesh, vertices=mesh.vertices @ turn.T + torch.tensor([0.1, -0.05, 0.0]))
    write_png(tmp_path / "photo.png", synthetic_views(scene_of(placed(moved, Unlit(colors))), camera, 4).images[0])
    setup = build_fit(parse_config(POSED + "background: [0.1, 0.2, 0.3]\n", tmp_path))
    result = fit(setup.model, setup.fit_views, setup.objective, setup.optimizer, setup.settings, setup.render_step)
    (item,) = result.scene.objects.values()
    assert float((item.mesh_w().vertices - moved.vertices).norm(dim=1).max()) < 0.01
