"""poses_bounds.npy, as LLFF writes it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from support.any_capture import fails, read
from support.colmap_files import write_capture, write_pictures

# The camera at (1, 2, 3) whose down is -y, right is +x and back is +z of the world: OpenGL's axes, not turned.
UPRIGHT = np.array([[0.0, 1, 0, 1], [-1, 0, 0, 2], [0, 0, 1, 3]])


def write(folder, names=("b.png", "a.jpg"), size=(8, 6), below="images", stated=(60.0, 80.0, 100.0), pose=UPRIGHT):
    write_pictures(folder / below, {name: 100 + 50 * index for index, name in enumerate(names)}, size)
    rows = np.stack(
        [np.concatenate([np.concatenate([pose, np.array(stated)[:, None]], 1).ravel(), [1, 9]])] * len(names)
    )
    rows[1:, 3] += 10
    np.save(folder / "poses_bounds.npy", rows)
    return folder


def test_images_by_name_and_a_focal_length_of_their_size(tmp_path):
    capture = read(write(tmp_path))
    views = capture.views
    assert views.names == ("a", "b") and float(views.images[0].mean()) > float(views.images[1].mean())
    assert views.cameras.focal_px.tolist() == [[10, 10]] * 2 and views.cameras.center_px.tolist() == [[4, 3]] * 2
    # 5 in front, 1 to the right and 2 above: right of and above the middle.
    pixels = views.cameras.world_to_pixels(torch.tensor([[2.0, 4.0, -2.0]]))
    torch.testing.assert_close(pixels[0, 0], torch.tensor([4 + 10 / 5, 3 - 2 * 10 / 5, 5.0]))
    torch.testing.assert_close(pixels[1, 0, 0], torch.tensor(4 - 9 * 10 / 5))
    assert capture.notes == ("its nearest and farthest depths are not used",)
    assert len(read(tmp_path / "poses_bounds.npy").views) == 2


def test_shrunk_images_are_used_if_there_are_no_others(tmp_path):
    write(tmp_path, below="images_8", size=(8, 6))
    write(tmp_path, below="images_4", size=(20, 15))
    assert read(tmp_path).views.cameras.focal_px[0].tolist() == [25, 25]


def test_photographs_marked_to_be_turned(tmp_path):
    write(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    write_pictures(tmp_path / "images", {"b.png": 9}, exif=exif)
    assert len(read(tmp_path).views) == 2


def test_colmap_beside_it_comes_first(tmp_path):
    write_capture(write(tmp_path))
    assert read(tmp_path).notes[0] == "its poses_bounds.npy is not used: the cameras are those of COLMAP"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stated": (60.0, 80.0, 0.0)}, "all 2 frames: height, width and focal length must be above 0"),
        (
            {"stated": (60.0, 60.0, 9.0)},
            "is 8 x 6 (width x height), which is of another shape than the 60 x 60",
        ),
        ({"pose": 2 * UPRIGHT}, "all 2 frames: its pose must be a rigid motion"),
        ({"below": "pictures"}, "has 2 poses, one for each image in `images` or images_2, ..., but there is none"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, change, message):
    fails(write(tmp_path, **change), message)


def test_arrays_of_another_kind_and_another_number_of_images(tmp_path):
    write(tmp_path)
    write_pictures(tmp_path / "images", {"c.png": 9})
    fails(tmp_path, "has 2 poses, one for each image", "images has 3; LLFF leaves out images without a pose")
    np.save(tmp_path / "poses_bounds.npy", np.zeros((2, 15)))
    fails(tmp_path, "must be numbers [N, 17]: 3 x 5 of a pose and two depths for each image, got float64 [2, 15]")
    (tmp_path / "poses_bounds.npy").write_bytes(b"\x93NUMPY")
    fails(tmp_path, "cannot be read as NumPy's arrays")
