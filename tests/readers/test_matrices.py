"""Matrices with stated camera axes, as .npz and as .json."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from support.any_capture import read
from support.colmap_files import write_pictures
from support.transforms_captures import DISC, save

from diffrender.errors import DataError
from diffrender.geometry.camera_axes import CAMERA_AXES, from_opencv_axes

K = [[10.0, 0, 4.5], [0, 12.0, 2.5], [0, 0, 1]]
POSES = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)
POSES[:, :3, 3] = torch.tensor([[0.0, 0, 5], [1, 0, 4]])


def write(folder, suffix=".npz", **changes):
    write_pictures(folder, {"a.png": 100, "b.png": 200})
    content = {"images": ["a.png", "b.png"], "K": K, "cam_from_world": POSES.tolist(), "convention": "opencv"}
    content = {key: value for key, value in (content | changes).items() if value is not None}
    file = folder / f"cameras{suffix}"
    if suffix == ".json":
        file.write_text(json.dumps(content))
    else:
        np.savez(file, **{key: np.array(value) for key, value in content.items()})
    return file


@pytest.mark.parametrize("suffix", [".npz", ".json"])
@pytest.mark.parametrize("key", ["cam_from_world", "world_from_cam"])
@pytest.mark.parametrize("convention", CAMERA_AXES)
def test_each_convention_and_both_directions_are_the_same_cameras(tmp_path, suffix, key, convention):
    matrices = from_opencv_axes(POSES, convention)
    matrices = matrices if key == "cam_from_world" else torch.linalg.inv(matrices)
    changes = {
        "cam_from_world": None,
        key: matrices[:, :3].tolist(),
        "convention": convention,
        "width": 8,
        "height": [6, 6],
    }
    if suffix == ".npz":  # as some programs write texts
        changes |= {"convention": convention.upper(), "images": [b"a.png", b"b.png"]}
    capture = read(write(tmp_path, suffix, **changes))
    cameras = capture.views.cameras
    torch.testing.assert_close(cameras.cam_from_world, POSES.float())
    assert cameras.focal_px.tolist() == [[10, 12]] * 2 and cameras.center_px.tolist() == [[4.5, 2.5]] * 2
    assert capture.views.names == ("a", "b") and capture.notes == ()


def test_masks_lenses_per_image_and_centres_at_whole_numbers(tmp_path):
    save(tmp_path / "mask.png", DISC)
    lenses = np.array([K, K])
    lenses[1, 0, 0] = 15
    file = write(tmp_path, K=lenses.tolist(), pixel_center=0, masks=["mask.png", "mask.png"], bbox=[1, 2])
    capture = read(file)
    assert capture.views.cameras.focal_px[:, 0].tolist() == [10, 15]
    assert capture.views.cameras.center_px[0].tolist() == [5, 3]
    assert capture.views.masks.sum((1, 2)).tolist() == [16, 16]
    assert capture.notes == ("its bbox is not used",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"convention": None}, "convention must be one of opencv, opengl, blender, pytorch3d, llff, got nothing"),
        ({"convention": "unity"}, "got 'unity'; it says the axes of the camera: opencv is x right"),
        ({"images": None}, "images is missing: a list with the path of each image"),
        ({"images": [1, 2]}, "images must be a list of paths"),
        ({"masks": ["a.png"]}, "masks must have an entry for each of the 2 images, got 1"),
        ({"K": None}, "K is missing"),
        ({"K": [K]}, "K must be [3, 3] or [2, 3, 3], got [1, 3, 3]"),
        ({"K": [[10, 1, 4], [0, 12, 2], [0, 0, 1]]}, "all 2 frames: K must be [[fx, 0, cx]"),
        ({"K": [[0, 0, 4], [0, 12, 2], [0, 0, 1]]}, "fx and fy above 0, got [[0.0"),
        ({"K": [["a", "b", "c"]] * 3}, "K must be an array of finite numbers"),
        ({"cam_from_world": None}, "must have either cam_from_world or world_from_cam, got neither"),
        ({"world_from_cam": POSES.tolist()}, "got cam_from_world and world_from_cam"),
        ({"cam_from_world": POSES[:1].tolist()}, "cam_from_world must be [2, 4, 4] or [2, 3, 4], got [1, 4, 4]"),
        ({"cam_from_world": (2 * POSES).tolist()}, "its pose must be a rigid motion"),
        ({"width": 9}, "w is stated as 9"),
        ({"width": 8.5}, "width must be a number of pixels, or 2 of them"),
        ({"pixel_center": 1}, "pixel_center must be 0.5 or 0"),
        ({"pixel_center": [0, 0]}, "pixel_center must be 0.5 or 0"),
    ],
)
@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_what_is_wrong_is_named(tmp_path, suffix, changes, message):
    with pytest.raises(DataError) as caught:
        read(write(tmp_path, suffix, **changes))
    assert message in str(caught.value) and str(tmp_path) in str(caught.value), str(caught.value)


def test_files_that_are_no_arrays(tmp_path):
    file = write(tmp_path)
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(DataError, match="cannot be read as NumPy's arrays"):
        read(file)
