from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from support.lenses import KINDS, lens

from diffrender.errors import DataError, ShapeError
from diffrender.readers.captures.transforms_json import read_transforms
from diffrender.scene.cameras import Cameras
from diffrender.scene.projections import PROJECTIONS
from diffrender.scene.projections.perspective import Perspective
from diffrender.scene.projections.radial_tangential import RadialTangential
from diffrender.writers.cameras import write_transforms
from diffrender.writers.images.png import write_png

CURVE = [0.1, 0.2, 0.35, 0.5, 0.6, 0.75, 0.9]


def some_cameras() -> Cameras:
    eye = torch.tensor([[0.0, 1.0, 4.0], [3.0, 0.5, 0.1], [-2.0, -3.0, 1.0]])
    cameras = Cameras.perspective(eye, height=60, width=80)
    return replace(
        cameras,
        focal_px=cameras.focal_px * torch.tensor([[1.0, 1.1], [1.2, 1.0], [0.9, 0.9]]),
        center_px=cameras.center_px + torch.tensor([3.5, -2.0]),
    )


def test_matrices_and_intrinsics_project_like_our_cameras(tmp_path):
    cameras = some_cameras()
    write_transforms(tmp_path / "cameras" / "transforms.json", cameras, ["a.png", "b/c.png", "d"])
    document = json.loads((tmp_path / "cameras" / "transforms.json").read_text())
    assert [frame["file_path"] for frame in document["frames"]] == ["a.png", "b/c.png", "d"]
    points = torch.randn(30, 3, generator=torch.Generator().manual_seed(0)) * 0.5
    for frame, pixels in zip(document["frames"], cameras.world_to_pixels(points).numpy(), strict=True):
        matrix = np.array(frame["transform_matrix"])
        # OpenGL's camera: y up, looking along -z.
        seen = np.c_[points.numpy(), np.ones(30)] @ np.linalg.inv(matrix).T
        x = frame["cx"] + frame["fl_x"] * seen[:, 0] / -seen[:, 2]
        y = frame["cy"] - frame["fl_y"] * seen[:, 1] / -seen[:, 2]
        np.testing.assert_allclose(np.c_[x, y, -seen[:, 2]], pixels, atol=1e-4)
        np.testing.assert_allclose(np.linalg.det(matrix), 1, atol=1e-6)
        assert (frame["w"], frame["h"]) == (80, 60)


def test_the_camera_of_a_well_known_place(tmp_path):
    # On the +z axis, looking at the origin: OpenGL's camera is then only moved.
    cameras = Cameras.perspective(torch.tensor([[0.0, 0.0, 4.0]]))
    write_transforms(tmp_path / "transforms.json", cameras, ["a"])
    frame = json.loads((tmp_path / "transforms.json").read_text())["frames"][0]
    expected = np.eye(4)
    expected[2, 3] = 4
    np.testing.assert_allclose(frame["transform_matrix"], expected, atol=1e-6)


def test_our_reader_gives_the_cameras_back(tmp_path):
    cameras = some_cameras()
    for name in ("a", "b", "c"):
        write_png(tmp_path / f"{name}.png", torch.full((60, 80, 3), 0.5))
    write_transforms(tmp_path / "transforms.json", cameras, ["a.png", "b.png", "c.png"])
    read = read_transforms(tmp_path).cameras
    torch.testing.assert_close(read.cam_from_world, cameras.cam_from_world, atol=1e-6, rtol=0)
    torch.testing.assert_close(read.focal_px, cameras.focal_px)
    torch.testing.assert_close(read.center_px, cameras.center_px)
    assert read.exposure is None and read.white_balance is None


def test_vignetting_and_response_come_back_in_the_unit_of_each_photograph(tmp_path):
    """Photographs of two sizes on one canvas: the corners of each are 1 in the file, those of the canvas in cameras."""
    sizes = [(24, 32), (12, 16)]
    frames = []
    for index, (height, width) in enumerate(sizes):
        Image.new("RGB", (width, height)).save(tmp_path / f"{index}.png")
        own = {"fl_x": 30, "w": width, "h": height, "vignetting": [-0.3, 0.1, -0.05], "response": CURVE}
        frames.append({"file_path": f"{index}.png", "transform_matrix": torch.eye(4).tolist(), **own})
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": frames}))
    views = read_transforms(tmp_path)
    torch.testing.assert_close(views.cameras.vignetting[0], torch.tensor([-0.3, 0.1, -0.05]))
    torch.testing.assert_close(views.cameras.vignetting[1], torch.tensor([-1.2, 1.6, -3.2]))
    write_transforms(tmp_path / "again.json", views.cameras, views.names, views.photo_boxes())
    again = json.loads((tmp_path / "again.json").read_text())["frames"]
    for frame in again:
        assert frame["vignetting"] == pytest.approx([-0.3, 0.1, -0.05]) and frame["response"] == pytest.approx(CURVE)


def test_exposures_and_white_balances_come_back(tmp_path):
    taken = replace(
        some_cameras(),
        exposure=torch.tensor([0.5, -1.25, 0.0]),
        white_balance=torch.tensor([[1.1, 1.0, 0.9], [1.0, 1.0, 1.0], [0.8, 1.0, 1.25]]),
    )
    for name in ("a", "b", "c"):
        write_png(tmp_path / f"{name}.png", torch.full((60, 80, 3), 0.5))
    write_transforms(tmp_path / "transforms.json", taken, ["a.png", "b.png", "c.png"])
    read = read_transforms(tmp_path).cameras
    torch.testing.assert_close(read.gains(), taken.gains())

    document = json.loads((tmp_path / "transforms.json").read_text())
    del document["frames"][0]["exposure"], document["frames"][0]["white_balance"]
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    read = read_transforms(tmp_path).cameras
    torch.testing.assert_close(read.gains(), torch.cat([torch.ones(1, 3), taken.gains()[1:]]))

    document["frames"][1] |= {"white_balance": [1, 0, 1], "exposure": "bright"}
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    with pytest.raises(
        DataError, match=r'exposure must be in -20..20, in stops, got "bright"(.|\n)*three gains above 0'
    ):
        read_transforms(tmp_path)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if not kind.is_undone_on_reading])
def test_projections_and_their_parameters_come_back(tmp_path, monkeypatch, name):
    monkeypatch.setitem(PROJECTIONS, name, KINDS[name])
    projection = lens(KINDS[name], 3, torch.float32)
    cameras = replace(some_cameras(), projection=projection, near=projection.default_near)
    for stem in ("a", "b", "c"):
        write_png(tmp_path / f"{stem}.png", torch.full((60, 80, 3), 0.5))
    write_transforms(tmp_path / "transforms.json", cameras, ["a.png", "b.png", "c.png"])
    assert json.loads((tmp_path / "transforms.json").read_text())["camera_model"] == name
    read = read_transforms(tmp_path).cameras
    assert type(read.projection) is KINDS[name] and read.near == cameras.near
    for parameter, values in projection.parameters().items():
        torch.testing.assert_close(read.projection.parameters()[parameter], values)


def test_a_learned_distortion_is_written_in_words_that_undistort_the_photographs(tmp_path):
    """A point that the lens sees at a pixel is where the undistorted photograph has it."""
    distorted = RadialTangential(*(torch.full((3,), value) for value in (0.15, -0.05, -0.01, 0.02)))
    cameras = replace(some_cameras(), projection=distorted)
    point = cameras.rays(torch.tensor([[[72.5, 10.5]]]).expand(3, 1, 2))
    point = point[0][0, 0] + 3 * point[1][0, 0]
    picture = torch.zeros(60, 80, 3)
    picture[10, 72] = 1
    for stem in ("a", "b", "c"):
        write_png(tmp_path / f"{stem}.png", picture)
    write_transforms(tmp_path / "transforms.json", cameras, ["a.png", "b.png", "c.png"])
    assert json.loads((tmp_path / "transforms.json").read_text())["camera_model"] == "OPENCV"
    read = read_transforms(tmp_path)
    assert type(read.cameras.projection) is Perspective
    image = read.images[0].mean(-1)
    seen = (image[..., None] * pixel_centers(60, 80)).sum((0, 1)) / image.sum()
    torch.testing.assert_close(seen, read.cameras.world_to_pixels(point[None])[0, 0, :2], atol=0.1, rtol=0)
    assert float((seen - torch.tensor([72.5, 10.5])).norm()) > 0.8


def pixel_centers(height, width):
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([x, y], -1)


def test_names_must_match(tmp_path):
    with pytest.raises(ShapeError, match=r"one entry per camera \(3\), got 1"):
        write_transforms(tmp_path / "transforms.json", some_cameras(), ["a"])
