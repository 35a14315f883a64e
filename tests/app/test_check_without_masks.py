"""`diffrender check` of pictures without masks: what does not fit is named, what fits raises no alarm."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from support.table_scenes import BALL, orbit, pictures, table_scene
from typer.testing import CliRunner

from diffrender.app.check.picture_diagnosis import PictureDiagnosis, diagnose_pictures
from diffrender.app.cli import app
from diffrender.geometry.rigid import OPENCV_FROM_OPENGL
from diffrender.scene.cameras import Cameras
from diffrender.scene.target_views import Views
from diffrender.writers.cameras import write_transforms
from diffrender.writers.images.png import write_png

ORIGIN = (0.0, 0.0, 0.0)


@cache
def sound() -> Views:
    return pictures(table_scene(ball=BALL), orbit(20, 80))


def swap_two(views: Views) -> Views:
    order = list(range(len(views)))
    order[3], order[7] = 7, 3
    return replace(views, images=views.images[order])


def with_opencv_axes(views: Views) -> Views:
    """Return what is read of matrices in OpenCV axes."""
    cameras = views.cameras
    return replace(views, cameras=replace(cameras, cam_from_world=OPENCV_FROM_OPENGL.float() @ cameras.cam_from_world))


def in_reverse(views: Views) -> Views:
    return replace(views, images=views.images.flip(0))


def with_half_the_focal_length(views: Views) -> Views:
    return replace(views, cameras=replace(views.cameras, focal_px=views.cameras.focal_px / 2))


def diagnose(views: Views) -> PictureDiagnosis:
    found = diagnose_pictures(views, None, ORIGIN)
    assert found is not None
    return found


def test_pictures_that_fit_raise_no_alarm() -> None:
    found = diagnose(sound())
    assert not found.reasons() and found.trial is None and not found.of_views
    assert found.agreement is not None and min(found.agreement.told.values()) > 0.1


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (with_opencv_axes, "OpenCV axes (y down, z forward)"),
        (in_reverse, "images in the reverse order"),
        (with_half_the_focal_length, "focal lengths 0.5 times as large as true ones"),
    ],
)
def test_a_mistake_of_all_pictures_or_cameras_is_named(plant: Callable[[Views], Views], words: str) -> None:
    found = diagnose(plant(sound()))
    (reason,) = found.reasons()
    assert reason.key == "likely_mistake" and reason.fails
    assert words in str(reason), found.as_json()


def test_pictures_that_do_not_belong_together_are_doubted_without_a_guess() -> None:
    views = sound()
    images = views.images[torch.randperm(len(views), generator=torch.Generator().manual_seed(2))]
    assert [reason.key for reason in diagnose(replace(views, images=images)).reasons()] == ["no_depths"]


def test_a_view_beside_which_no_other_looks_is_not_odd() -> None:
    cameras = orbit(20, 80)
    above = Cameras.perspective(torch.tensor([[0.01, 4.5, 0.01]]), fov_deg=50, height=80, width=90)
    eyes_and_top = replace(cameras, cam_from_world=torch.cat([cameras.cam_from_world, above.cam_from_world]),
                           focal_px=torch.cat([cameras.focal_px, above.focal_px]),
                           center_px=torch.cat([cameras.center_px, above.center_px]))  # fmt: skip
    found = diagnose(pictures(table_scene(ball=BALL), eyes_and_top))
    assert found.agreement is not None and "20.png" not in found.agreement.told
    assert not found.reasons()


def test_what_is_ignored_does_not_count() -> None:
    views = sound()
    weights = torch.ones(views.images.shape[:3])
    weights[4, :60] = 0
    weights[5, 4:] = 0
    found = diagnose(replace(views, weights=weights))
    assert not found.reasons() and found.agreement is not None
    assert "4.png" in found.agreement.told and "5.png" not in found.agreement.told


def test_cameras_at_one_place_tell_nothing() -> None:
    eyes = torch.tensor([[1.3, 1.7, 2.9]]).expand(12, 3)
    angles = torch.arange(12) * 0.2
    ahead = torch.stack([angles.cos(), -0.4 * torch.ones(12), angles.sin()], 1)
    cameras = Cameras.perspective(eyes, target=eyes + ahead, fov_deg=50, height=60, width=70)
    assert diagnose_pictures(pictures(table_scene(ball=BALL), cameras), None, ORIGIN) is None


def test_of_few_pictures_a_mirrored_one_is_named() -> None:
    views = pictures(table_scene(ball=BALL), orbit(24, 80).select(list(range(9))))
    images = views.images.clone()
    images[4] = images[4].flip(1)
    found = diagnose(replace(views, images=images))
    assert [reason.key for reason in found.reasons()] == ["odd_views"]
    assert "4.png: images mirrored, left for right would explain it" in str(found.reasons()[0])


def test_the_command_names_swapped_pictures_first_and_how_to_swap_them_back(tmp_path: Path) -> None:
    views = swap_two(sound())
    for name, image in zip(views.names, views.images, strict=True):
        write_png(tmp_path / name, image)
    write_transforms(tmp_path / "transforms.json", views.cameras, views.names)
    file = tmp_path / "check.json"
    result = CliRunner().invoke(app, ["check", str(tmp_path), "--out", str(tmp_path / "out"), "--json", str(file)])
    assert result.exit_code == 0, result.output
    found = json.loads(file.read_text())
    odd = {view["name"] for view in found["views"] if "does not agree" in view["notes"]}
    assert odd == {"3", "7"} == set(found["pictures"]["odd"])
    shown = " ".join(result.output.split())
    for own, other in (("3", "7"), ("7", "3")):
        assert f"{own}: its image and that of {other} swapped would explain it: swap its image with that" in shown
    depths = {view["name"]: view["depth"] for view in found["views"]}
    assert max(depths[name] for name in odd) < 0.05 and min(depths[name] for name in depths if name not in odd) > 0.1
