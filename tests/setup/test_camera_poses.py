"""Poses in another convention are told, and good ones are not doubted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from diffrender.app.run import run_fit
from diffrender.config.load import parse_config
from diffrender.errors import ConfigError, DataError
from diffrender.geometry.orbits import sphere_positions
from diffrender.geometry.rigid import OPENCV_FROM_OPENGL, invert_rigid
from diffrender.readers.captures import read_capture
from diffrender.readers.captures.capture import CaptureOptions
from diffrender.scene.cameras import Cameras
from diffrender.scene.target_views import Views
from diffrender.setup.camera_poses import doubt_poses
from diffrender.setup.fit_setup import build_fit
from diffrender.setup.region import region_of_views
from diffrender.writers.cameras import world_from_opengl_cameras

DATA = Path(__file__).parents[3] / "shared" / "data"
ORBIT = sphere_positions(12, 4.0, (0.0, 0.0, 0.0), -30.0, 60.0)
STEP = torch.linspace(0, 1, 9)[:, None]
AROUND = torch.cat([torch.sin(6.283 * STEP[:-1]), 0 * STEP[:-1], torch.cos(6.283 * STEP[:-1])], 1)
PLANE = torch.cat([torch.cartesian_prod(STEP[::4, 0], STEP[::4, 0]), torch.zeros(9, 1)], 1)


def views_of(cameras: Cameras, masked: bool = False) -> Views:
    n, size = len(cameras), (cameras.height, cameras.width)
    masks = torch.zeros(n, *size)
    masks[:, size[0] // 4 : -size[0] // 4, size[1] // 3 : -size[1] // 4] = 1
    return Views(cameras, torch.zeros(n, *size, 3), masks if masked else None, tuple(f"v{i}" for i in range(n)))


def cameras_of(world_from_cam: Tensor) -> Cameras:
    """Return the cameras as they are read from matrices in a transforms.json."""
    n = len(world_from_cam)
    cam_from_world = invert_rigid(world_from_cam.double() @ OPENCV_FROM_OPENGL).float()
    return Cameras(cam_from_world, torch.full((n, 2), 40.0), torch.tensor([24.0, 16.0]).expand(n, 2), 32, 48)


def looking(eyes: Tensor, target: Tensor | tuple[float, float, float]) -> Tensor:
    """Return right matrices: camera to world in OpenGL axes."""
    return world_from_opengl_cameras(Cameras.perspective(eyes, target, (0.1, 1.0, 0.2), height=32, width=48))


# Not exactly at one point, as people hold cameras.
SEEN = ORBIT * (1 + 0.2 * torch.sin(7 * ORBIT[:, :1])), 0.3 * torch.cos(5 * ORBIT)
GOOD = {
    "orbit": looking(*SEEN),
    "orbit far from the origin": looking(SEEN[0] + 50, SEEN[1] + 50),
    "turntable": looking(3 * AROUND + torch.tensor([0.0, 1.0, 0.0]), (0.0, 0.0, 0.0)),
    "plane towards an object": looking(PLANE + torch.tensor([0.0, 0, 5]), PLANE * 0.2),
    "parallel": looking(PLANE + torch.tensor([0.0, 0, 5]), PLANE),
    "one view": looking(torch.tensor([[0.0, 0, 5]]), (0.1, 0.0, 0.0)),
    "two views": looking(torch.tensor([[0.0, 0, 5], [1, 0, 5]]), (0.1, 0.0, 0.0)),
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("masked", [False, True])
def test_good_poses_are_not_doubted(name: str, masked: bool) -> None:
    if masked and name == "parallel":
        pytest.skip("equal masks in parallel views are an object at infinity")
    views = views_of(cameras_of(GOOD[name]), masked)
    assert doubt_poses(views) is None
    assert region_of_views(views).radius > 0.1


@pytest.mark.parametrize("capture", ["middlebury_dino_sparse_ring", "mitsuba_blub", "nerf_synthetic_lego",
                                     "photometric_stereo/cat"])  # fmt: skip
def test_captures_are_not_doubted_until_their_axes_are_turned(capture: str) -> None:
    if not (DATA / capture).exists():
        pytest.skip("needs shared/data")
    views = read_capture(DATA / capture, CaptureOptions(resolution=64)).views
    assert doubt_poses(views) is None
    if views.cameras.number is None:
        wrong = cameras_of(world_from_opengl_cameras(views.cameras) @ OPENCV_FROM_OPENGL)
        assert "OpenCV axes" in str(doubt_poses(views_of(wrong, masked=True)))


WRONG = {
    "OpenCV axes": (lambda good: good @ OPENCV_FROM_OPENGL, "OpenCV axes (y down, z forward)", "third column of each"),
    "inverse": (invert_rigid, "world-to-camera matrices they", "invert each transform_matrix"),
    "OpenCV world to camera": (
        lambda good: invert_rigid(good @ OPENCV_FROM_OPENGL),
        "world-to-camera matrices in OpenCV axes", "invert each transform_matrix, then multiply its second",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("good", ["orbit", "turntable"])
@pytest.mark.parametrize("masked", [False, True])
def test_other_conventions_are_named_with_the_remedy(name: str, good: str, masked: bool) -> None:
    change, convention, remedy = WRONG[name]
    views = views_of(cameras_of(change(GOOD[good].double())), masked)
    doubt = doubt_poses(views)
    assert doubt is not None and f"read as {convention}" in doubt and remedy in doubt
    assert ("outwards" in doubt) != masked
    assert region_of_views(views).radius > 1e-3


def test_the_remedy_also_holds_for_a_capture_that_was_moved_to_its_cameras() -> None:
    wrong = invert_rigid(looking(ORBIT, (0.0, 0.0, 1e-4)).double())
    middle = wrong[:, :3, 3].mean(0)
    moved = wrong.clone()
    moved[:, :3, 3] -= middle
    x, y, z = middle.tolist()
    assert "world-to-camera matrices they" in str(doubt_poses(views_of(cameras_of(moved)), (x, y, z)))


def test_cameras_that_look_outwards_are_noted_and_a_box_around_them_settles_it() -> None:
    panorama = views_of(cameras_of(looking(0.3 * AROUND, 5 * AROUND)))
    assert "if they look outwards" in str(doubt_poses(panorama))
    assert region_of_views(panorama).radius == pytest.approx(0.24, rel=1e-3)
    assert doubt_poses(panorama, aabb=torch.tensor([[-2.0, -2, -2], [2, 2, 2]])) is None


def test_cameras_at_one_point_and_equal_poses_are_told() -> None:
    tripod = looking(torch.tensor([[0.0, 0.3, 0.1]]).expand(8, 3), AROUND)
    assert "its 8 cameras are all at one point" in str(doubt_poses(views_of(cameras_of(tripod))))
    equal = GOOD["one view"].expand(5, 4, 4)
    assert "its 5 cameras have one and the same pose" in str(doubt_poses(views_of(cameras_of(equal))))


def test_parallel_cameras_that_look_away_from_the_origin_get_a_region_that_they_see() -> None:
    away = looking(PLANE - torch.tensor([0.0, 0, 5]), PLANE - torch.tensor([0.0, 0, 9]))
    views = views_of(cameras_of(away))
    assert "look in about one direction" in str(doubt_poses(views))
    assert bool((views.cameras.world_to_pixels(torch.tensor([region_of_views(views).center]))[..., 2] > 0.5).all())


def test_single_views_that_look_elsewhere_are_named_and_do_not_shrink_the_region() -> None:
    mixed = looking(*SEEN).clone()
    mixed[3] = mixed[3] @ OPENCV_FROM_OPENGL
    views = views_of(cameras_of(mixed))
    assert "1 of its 12 cameras look away from" in str(doubt_poses(views)) and ": v3;" in str(doubt_poses(views))
    assert region_of_views(views).radius > 0.5


def write_capture(folder: Path, matrices: Tensor) -> None:
    pixels = np.zeros((32, 48, 4), np.uint8)
    pixels[8:24, 14:34] = 255
    frames = []
    for index, matrix in enumerate(matrices.tolist()):
        Image.fromarray(pixels).save(folder / f"{index}.png")
        frames.append({"file_path": f"{index}.png", "transform_matrix": matrix})
    (folder / "transforms.json").write_text(json.dumps({"fl_x": 40.0, "frames": frames}))


def test_a_fit_says_it_before_it_starts(tmp_path: Path) -> None:
    write_capture(tmp_path, GOOD["orbit"] @ OPENCV_FROM_OPENGL)
    text = f"targets: {{path: {tmp_path}}}\noptimize: {{steps: 1}}\n"
    for mesh in ("", "mesh: {init: visual_hull}\n", "mesh: {init: sphere, radius: 1}\n"):
        with pytest.raises(DataError, match=r"mesh: the targets do not show where .* its cameras look .* OpenCV axes"):
            build_fit(parse_config(text + mesh, tmp_path))
    text += "mesh: {init: sphere, radius: 1, center: [0, 0, 0]}\n"
    assert any("OpenCV axes" in note for note in build_fit(parse_config(text, tmp_path)).notes)
    with pytest.raises(ConfigError, match=r"sees the initial scene.* Of the targets, its cameras look .* OpenCV axes"):
        run_fit(parse_config(text, tmp_path), out=tmp_path / "out")
