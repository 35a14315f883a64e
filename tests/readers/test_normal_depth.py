import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from diffrender.errors import DataError
from diffrender.readers.captures import read_capture
from diffrender.readers.captures.capture import CaptureOptions
from diffrender.readers.captures.transforms_json import read_transforms
from diffrender.writers import capture as writers


def write_capture(folder, normal=None, depth=None):
    rgba = np.full((4, 6, 4), 255, np.uint8)
    rgba[:, :2, 3] = 0
    Image.fromarray(rgba).save(folder / "a.png")
    frame = {"file_path": "a.png", "transform_matrix": np.eye(4).tolist()}
    for name, values in (("normal", normal), ("depth", depth)):
        if values is not None:
            np.save(folder / f"{name}.npy", values)
            frame[f"{name}_path"] = f"{name}.npy"
    (folder / "transforms.json").write_text(json.dumps({"camera_angle_x": 0.7, "frames": [frame]}))


def read(folder, *aovs, resolution=None):
    return read_transforms(folder, CaptureOptions(resolution, aovs=aovs)).aovs


def test_normals_and_depths_come_with_the_images(tmp_path):
    normal, depth = np.random.default_rng(0).normal(size=(4, 6, 3)), np.arange(1.0, 25).reshape(4, 6)
    write_capture(tmp_path, normal, depth)
    found = read(tmp_path, "normal", "depth")
    assert found["normal"].shape == (1, 4, 6, 3) and found["depth"].shape == (1, 4, 6, 1)
    np.testing.assert_allclose(found["normal"][0, :, 2:], normal[:, 2:], rtol=1e-6)
    np.testing.assert_allclose(found["depth"][0, :, 2:, 0], depth[:, 2:], rtol=1e-6)
    assert (found["depth"][0, :, :2] == 0).all() and (found["normal"][0, :, :2] == 0).all()
    assert read(tmp_path) == {}


def test_they_are_shrunk_with_the_images_and_unknown_depths_stay_unknown(tmp_path):
    depth = np.full((4, 6), 2.0)
    depth[0, 5] = 0
    write_capture(tmp_path, depth=depth)
    found = read(tmp_path, "depth", resolution=3)["depth"]
    assert found.shape == (1, 2, 3, 1)
    assert math.isnan(found[0, 0, 2, 0]) and found[0, 1, 2, 0] == 2 and found[0, 0, 0, 0] == 0
    assert int(torch.isnan(found).sum()) == 1


def test_files_of_another_shape_are_refused_and_twice_the_size_is_shrunk(tmp_path):
    write_capture(tmp_path, depth=np.ones((6, 6)))
    with pytest.raises(DataError, match=r"depth\.npy: is 6 x 6 .* of another shape than the fitted images, 6 x 4"):
        read(tmp_path, "depth")
    write_capture(tmp_path, depth=np.ones((8, 12)))
    assert read(tmp_path, "depth")["depth"].shape == (1, 4, 6, 1)


@pytest.mark.parametrize("suffix", ["png", "npy"])
def test_depths_of_nerfstudio_are_thousandths_and_this_is_noted(tmp_path, suffix):
    write_capture(tmp_path)
    depth = np.full((4, 6), 2500, np.uint16)
    np.save(tmp_path / "d.npy", depth)
    Image.fromarray(depth).save(tmp_path / "d.png")
    content = json.loads((tmp_path / "transforms.json").read_text())
    content["frames"][0]["depth_file_path"] = f"d.{suffix}"
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    capture = read_capture(tmp_path, CaptureOptions(aovs=("depth",)))
    assert float(capture.views.aovs["depth"][0, 0, 3, 0]) == 2.5
    assert any("depth_file_path are in thousandths" in note for note in capture.notes)
    writers.write_capture(tmp_path / "run", capture.views)
    assert read(tmp_path / "run", "depth")["depth"].equal(capture.views.aovs["depth"])
    assert not any("thousandths" in note for note in read_capture(tmp_path, CaptureOptions()).notes)


@pytest.mark.parametrize(("scale", "unit"), [({}, 1.0), ({"integer_depth_scale": 0.001}, 0.001)])
def test_pictures_of_depth_have_the_unit_of_instant_ngp(tmp_path, scale, unit):
    write_capture(tmp_path)
    Image.fromarray(np.full((4, 6), 2500, np.uint16)).save(tmp_path / "d.png")
    content = json.loads((tmp_path / "transforms.json").read_text()) | scale
    content["frames"][0]["depth_path"] = "d.png"
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    capture = read_capture(tmp_path, CaptureOptions(aovs=("depth",)))
    assert float(capture.views.aovs["depth"][0, 0, 3, 0]) == pytest.approx(2500 * unit)
    note = "its 1 pictures of depth are taken in whole units of the world; if they are not, state integer_depth_scale"
    assert capture.notes == (() if scale else (note,))
    writers.write_capture(tmp_path / "run", capture.views)
    assert read(tmp_path / "run", "depth")["depth"].equal(capture.views.aovs["depth"])
    Image.fromarray(np.full((4, 6), 250, np.uint8)).save(tmp_path / "d.png")
    with pytest.raises(DataError, match=r"d\.png: has 8 bits, as a picture to look at; depth must have 16 bits"):
        read(tmp_path, "depth")


def test_what_is_missing_or_of_another_shape_is_named(tmp_path):
    write_capture(tmp_path, normal=np.zeros((4, 6)), depth=np.zeros((2, 3)))
    with pytest.raises(
        DataError, match=r"a\.png.*normal\.npy: must be numbers \[height, width, 3\], got float64 \[4, 6\]"
    ):
        read(tmp_path, "normal")
    with pytest.raises(DataError, match=r"depth\.npy: is 3 x 2 .* smaller than the fitted images, 6 x 4"):
        read(tmp_path, "depth")
    write_capture(tmp_path)
    with pytest.raises(DataError, match=r"has no normal_path, which loss\.normal needs"):
        read(tmp_path, "normal")
