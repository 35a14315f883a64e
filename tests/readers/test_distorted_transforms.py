"""Distorted photographs in a transforms.json: undistorted as they are read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.transforms_captures import DISC, HEIGHT, WIDTH, capture, fails, read, save

from diffrender.imaging.lens_distortion import BrownConrady, Fisheye
from diffrender.readers.captures import read_capture
from diffrender.readers.captures.camera_models import CAMERA_MODELS
from diffrender.readers.captures.capture import CaptureOptions
from diffrender.readers.captures.transforms_lens import intrinsics_of

FOCAL = {"fl_x": 10.0}


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({"k1": 0.1, "k3": 0.3, "p2": -0.1}, BrownConrady(k1=0.1, k3=0.3, p2=-0.1)),
        ({"camera_model": "SIMPLE_RADIAL", "k1": 0.1, "k2": 0}, BrownConrady(k1=0.1)),
        ({"camera_model": "RADIAL", "k1": 0.1, "k2": 0.2}, BrownConrady(k1=0.1, k2=0.2)),
        ({"camera_model": "OPENCV", "k2": 0.1, "k3": 0.3, "p1": 0.1}, BrownConrady(k2=0.1, k3=0.3, p1=0.1)),
        ({"camera_model": "FULL_OPENCV", "k1": 0.1, "k6": 0.2}, BrownConrady(k1=0.1, k6=0.2)),
        ({"camera_model": "OPENCV_FISHEYE", "k1": 0.1, "k4": 0.2}, Fisheye(k1=0.1, k4=0.2)),
        ({"is_fisheye": True, "k2": 0.1}, Fisheye(k2=0.1)),
        ({"is_fisheye": True}, Fisheye()),
        ({"is_fisheye": False, "k4": 0, "p1": 0.0}, None),
        ({"camera_model": "OPENCV", "k1": 0}, None),
        ({"camera_model": "PINHOLE", "k1": 0}, None),
    ],
)
def test_the_lens_is_that_of_the_model(entries, expected):
    problems: list[str] = []
    assert intrinsics_of(FOCAL | entries, problems).distortion == expected
    assert problems == []


FISHEYES = [name for name, model in CAMERA_MODELS.items() if model.lens is not None and model.lens.is_fisheye]


@pytest.mark.parametrize("model", [*FISHEYES, "FOV"])
def test_the_focal_length_of_a_fisheye_is_not_guessed(tmp_path, model):
    assert len(FISHEYES) == 7
    top = {"fl_x": None, "fl_y": None, "camera_angle_x": 1.0, "camera_model": model, "omega": 0.5}
    whose = "FOV" if model == "FOV" else "a fisheye"
    if model != "FOV":
        top |= {"is_fisheye": True, "omega": None}
    fails(capture(tmp_path, **top), f"camera_angle_x does not say the focal length of {whose}; give fl_x")


def test_a_field_of_view_is_not_guessed(tmp_path):
    fails(capture(tmp_path, camera_model="FOV"), "FOV needs omega")


def test_coefficients_of_a_named_model_are_read_and_those_of_another_are_told(tmp_path):
    notes = read_capture(capture(tmp_path, camera_model="FOV", omega=0.3), CaptureOptions()).notes
    assert not any("not read" in note for note in notes)
    fails(capture(tmp_path, camera_model="THIN_PRISM_FISHEYE", k5=0.1), "k1, k2, p1, p2, k3, k4, sx1, sy1")


def test_a_distorted_frame_is_undistorted_and_told(tmp_path):
    read_plain = read_capture(capture(tmp_path / "plain"), CaptureOptions())
    bent = read_capture(capture(tmp_path / "bent", {1: {"k1": 3.0}}), CaptureOptions())
    assert read_plain.views.weights is None and read_plain.notes == ()
    assert bent.notes == (
        "1 of its 2 images are undistorted, to a pinhole with the same focal lengths; hardly a pixel is lost",
    )
    views = bent.views
    assert torch.equal(views.cameras.focal_px, read_plain.views.cameras.focal_px)
    assert torch.equal(views.cameras.center_px, read_plain.views.cameras.center_px)
    assert torch.equal(views.images[0], read_plain.views.images[0]) and bool((views.weights[0] == 1).all())
    assert views.weights[1, 0, 0] == 0 and views.weights[1, 2, 4] == 1
    assert views.images[1, 0, 0].tolist() == [0, 0, 0]
    assert views.masks[1].sum() < views.masks[0].sum()  # k1 > 0 magnifies, and the pinhole takes that back


def test_masks_are_undistorted_with_their_image(tmp_path):
    """A mask that is the picture's red channel stays that."""
    folder = capture(tmp_path, k1=-0.4, p1=0.02)
    for name in "01":
        save(folder / "images" / f"{name}.png", np.stack([DISC] * 3, -1))
    views = read(folder, background=(0, 0, 0))
    torch.testing.assert_close(views.images[..., 0], views.masks, atol=1e-6, rtol=0)
    assert bool(((views.masks > 0) & (views.masks < 1)).any())


def test_normals_and_depths_are_undistorted_with_their_images(tmp_path):
    """A photograph of a plane, whose depth is linear in the pixels of a pinhole; its file has twice the size."""
    k1, width, height = 0.3, 2 * WIDTH, 2 * HEIGHT
    fx, fy, cx, cy = 20.0, 24.0, 9.0, 5.0
    x, y = (np.arange(width) + 0.5 - cx) / fx, (np.arange(height) + 0.5 - cy) / fy
    bent_x, bent_y = np.meshgrid(x, y)
    straight = bent = np.hypot(bent_x, bent_y)
    for _ in range(20):
        straight = straight - (straight + k1 * straight**3 - bent) / (1 + 3 * k1 * straight**2)
    depth = 5 + (bent_x * 3 + bent_y * 2) * straight / bent
    np.save(tmp_path / "d.npy", depth)
    unknown = np.stack([depth, -depth, 0 * depth], -1)
    unknown[5, 9] = np.nan
    np.save(tmp_path / "n.npy", unknown)
    changes = {index: {"depth_path": "d.npy", "normal_path": "n.npy"} for index in range(2)}
    views = read(capture(tmp_path, changes, k1=k1), aovs=("normal", "depth"), use_masks=False)
    column, row = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    expected = 5 + 3 * (column - 4.5) / 10 + 2 * (row - 2.5) / 12
    found, normals = views.aovs["depth"][0, ..., 0].numpy(), views.aovs["normal"][0].numpy()
    is_known = np.isfinite(found)
    # As distorted they would be off by more than .1 near the corners.
    assert 0.4 < is_known.mean() < 1 and np.abs(found - expected)[is_known].max() < 0.015
    assert (is_known == (views.weights[0] == 1).numpy()).all()
    assert np.isnan(normals[2, 4]).all() and np.isfinite(normals[1, 2]).all()
    is_known = np.isfinite(normals[..., 0])
    np.testing.assert_allclose(normals[is_known], found[is_known][:, None] * [1, -1, 0], rtol=1e-6)


def test_a_field_of_view_beside_a_fisheye_is_no_doubt(tmp_path):
    options = CaptureOptions(use_masks=False)
    bent = capture(tmp_path, camera_angle_x=2.0, is_fisheye=True)
    assert not any("camera_angle_x" in note for note in read_capture(bent, options).notes)
    assert any("camera_angle_x" in note for note in read_capture(capture(tmp_path, camera_angle_x=2.0), options).notes)
