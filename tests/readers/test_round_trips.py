"""Cameras of every format, written as transforms.json and as a COLMAP model and read again: the same pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support import colmap_files, planted, transforms_captures
from support.any_capture import read
from support.lenses import lens
from test_llff import write as write_llff
from test_matrices import write as write_matrices

from diffrender.errors import DataError, ShapeError
from diffrender.geometry.rigid import invert_rigid
from diffrender.imaging.lens_distortion import BrownConrady
from diffrender.readers.captures import CAPTURE_READERS
from diffrender.readers.captures.colmap_model import read_model
from diffrender.scene.cameras import Cameras
from diffrender.scene.projections.orthographic import Orthographic
from diffrender.scene.projections.radial_tangential import RadialTangential
from diffrender.scene.target_views import Views
from diffrender.writers.capture import write_capture
from diffrender.writers.colmap import write_colmap
from diffrender.writers.images.png import write_png

LENS = (3, "OPENCV", 4, 8, 6, (10.0, 11.0, 4.5, 2.5, 0.05, -0.01, 0.002, -0.001))
CAPTURES: dict[str, Callable[[Path], Path]] = {
    "transforms.json": transforms_captures.capture,
    "transforms.json, fisheye": lambda folder: transforms_captures.capture(folder, is_fisheye=True, k1=0.02),
    "COLMAP, text": lambda folder: colmap_files.write_capture(folder, "text") or folder,
    "COLMAP, binary, distorted": lambda folder: colmap_files.write_capture(folder, cameras=(LENS,)) or folder,
    "LLFF": write_llff,
    "matrices": write_matrices,
    "one photograph": lambda folder: colmap_files.write_pictures(folder, {"a.png": 200}, (80, 60)) / "a.png",
    "rendered": lambda folder: planted.capture(folder.parent).write(folder),
}


def as_transforms(folder: Path, views: Views) -> None:
    write_capture(folder, views)


def as_colmap(folder: Path, views: Views) -> None:
    names = [f"{name}.png".replace(" ", "_") for name in views.names]
    write_colmap(folder / "sparse" / "0", views.cameras, names, boxes=views.photo_boxes())
    for name, image, (top, left, height, width) in zip(names, views.images, views.photo_boxes(), strict=True):
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        write_png(folder / "images" / name, image[top : top + height, left : left + width])


def seen_points(views: Views) -> torch.Tensor:
    """Points [M, 3] in front of the first camera, at corners and depths of all kinds."""
    cameras = views.cameras.select([0])
    corner = torch.cartesian_prod(*[torch.linspace(0.0, side, 4) for side in (cameras.width, cameras.height)])
    origin, direction = cameras.rays(corner[None])
    return torch.cat([(origin + depth * direction)[0] for depth in (2.0, 5.0, 40.0)])


@pytest.mark.parametrize("write", [as_transforms, as_colmap])
@pytest.mark.parametrize("name", CAPTURES)
def test_what_is_written_is_read_as_the_same_pixels(name: str, write: Callable, tmp_path: Path) -> None:
    views = read(CAPTURES[name](tmp_path / "given")).views
    write(tmp_path / "written", views)
    again = read(tmp_path / "written").views
    order = [[name.replace(" ", "_") for name in again.names].index(each.replace(" ", "_")) for each in views.names]
    points = seen_points(views)
    before, after = (each.world_to_pixels(points) for each in (views.cameras, again.cameras.select(order)))
    is_ahead = before[..., 2] > 0.1
    assert int(is_ahead.sum()) >= len(points)
    torch.testing.assert_close(after[is_ahead], before[is_ahead], rtol=0, atol=1e-3)


def test_every_reader_of_posed_photographs_takes_part() -> None:
    assert len(CAPTURE_READERS) == 6  # photometric stereo has one camera, which is not written


def some_cameras() -> Cameras:
    cameras = Cameras.perspective(torch.tensor([[0.0, 0, 4], [3.0, 1, 0], [0, 3, 1]]), height=6, width=8)
    return replace(cameras, focal_px=cameras.focal_px * torch.tensor([[1.0], [1.0], [2.0]]))


def test_a_lens_is_written_once_and_points_have_colours(tmp_path: Path) -> None:
    points = torch.tensor([[0.5, -1.0, 2.0], [0.0, 0.0, 1e-7]])
    colors = torch.tensor([[1.0, 0.0, 0.5], [2.0, -1.0, 0.2]])
    write_colmap(tmp_path, some_cameras(), ["a_b.png", "c/d.jpg", "e.png"], points, colors)
    lines = (tmp_path / "cameras.txt").read_text().splitlines()
    assert [line.split()[:4] for line in lines[1:]] == [["1", "PINHOLE", "8", "6"], ["2", "PINHOLE", "8", "6"]]
    images = (tmp_path / "images.txt").read_text().splitlines()[1:]
    assert [line.split(maxsplit=8)[8] for line in images[::2]] == ["1 a_b.png", "1 c/d.jpg", "2 e.png"]
    assert set(images[1::2]) == {""} and not [path for path in tmp_path.iterdir() if path.suffix != ".txt"]
    rows = np.array([line.split() for line in (tmp_path / "points3D.txt").read_text().splitlines()[1:]], float)
    np.testing.assert_allclose(rows, [[1, 0.5, -1, 2, 255, 0, 128, 0], [2, 0, 0, 1e-7, 255, 0, 51, 0]], rtol=1e-6)


def test_what_colmap_has_not_is_refused(tmp_path: Path) -> None:
    cameras, names = some_cameras(), ["a.png", "b.png", "c.png"]
    parallel = replace(cameras, projection=lens(Orthographic, 3, torch.float32))
    with pytest.raises(ShapeError, match="must be perspective, as those of COLMAP are, got orthographic ones"):
        write_colmap(tmp_path, parallel, names)
    with pytest.raises(ShapeError, match="one entry per camera"):
        write_colmap(tmp_path, cameras, names[:2])
    with pytest.raises(ShapeError, match=r"names must not contain spaces.*got 'a b.png'; rename the photograph"):
        write_colmap(tmp_path, cameras, ["a b.png", *names[1:]])
    with pytest.raises(ShapeError, match="points_w"):
        write_colmap(tmp_path, cameras, names, torch.zeros(3))
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError):
        write_colmap(tmp_path / "file", cameras, names)


def test_learned_distortion_is_the_opencv_model_of_colmap(tmp_path: Path) -> None:
    cameras = some_cameras()
    values = [torch.tensor([0.1, 0.1, -0.05]) * scale for scale in (1.0, -0.2, 0.05, -0.03)]
    write_colmap(tmp_path, replace(cameras, projection=RadialTangential(*values)), ["a", "b", "c"])
    entries = read_model(tmp_path)
    lens = entries.intrinsics(entries.images[2]).distortion
    assert lens == BrownConrady(
        **{name: float(value[2]) for name, value in zip(("k1", "k2", "p1", "p2"), values, strict=True)}
    )


def test_positions_are_those_of_the_world(tmp_path: Path) -> None:
    write_colmap(tmp_path, some_cameras(), ["a", "b", "c"])
    words = (tmp_path / "images.txt").read_text().splitlines()[1].split()
    w, x, y, z = map(float, words[1:5])
    rotation = np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip
    eye = -rotation.T @ np.array(words[5:8], float)
    np.testing.assert_allclose(eye, invert_rigid(some_cameras().cam_from_world)[0, :3, 3], atol=1e-6)
    np.testing.assert_allclose(eye, [0, 0, 4], atol=1e-6)
