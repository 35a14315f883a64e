"""Files that pycolmap 4.2.1 wrote: a rig of two cameras, three frames of which two have a pose."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from support.colmap_files import write_pictures

from diffrender.readers.captures import read_capture
from diffrender.readers.captures.capture import CaptureOptions
from diffrender.readers.captures.colmap_model import read_model

DATA = Path(__file__).parent / "data" / "colmap"
GOLDEN = json.loads((DATA / "expected.json").read_text())


@pytest.mark.parametrize("kind", ["binary", "text"])
def test_poses_and_lenses_are_those_that_colmap_reports(tmp_path, kind):
    folder = tmp_path / "sparse" / "0"
    folder.mkdir(parents=True)
    for file in (DATA / kind).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    assert any(folder.glob("rigs.*")) and any(folder.glob("frames.*"))
    write_pictures(tmp_path / "images", dict.fromkeys(GOLDEN["images"], 99), (1024, 768))
    capture = read_capture(tmp_path, CaptureOptions(resolution=8))
    poses = torch.tensor([GOLDEN["images"][name]["cam_from_world"] for name in sorted(GOLDEN["images"])])
    torch.testing.assert_close(capture.views.cameras.cam_from_world[:, :3], poses, rtol=0, atol=1e-6)
    model = read_model(folder)
    assert [image.name for image in model.images] == sorted(GOLDEN["images"])
    for image, pose in zip(model.images, poses.double().numpy(), strict=True):
        lens = model.intrinsics(image)
        x, y, z = pose[:, :3] @ GOLDEN["point"] + pose[:, 3]
        bent = np.array(lens.distortion.distort(np.array([x / z]), np.array([y / z])))[:, 0]
        focal_x, focal_y, center_x, center_y = lens.resolved(1024, 768)
        pixel = bent * (focal_x, focal_y) + (center_x, center_y)
        assert pixel == pytest.approx(GOLDEN["images"][image.name]["pixel"], abs=1e-3)
