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
    assert found.reason() is None and found.trial is None and not found.of_views
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
    reason = found.reason()
    assert reason is not None and reason.key == "likely_mistake" and reason.fails
    assert words in str(reason), found.as_json()


def test_pictures_that_do_not_belong_together_are_doubted_without_a_guess() -> None:
    views = sound()
    images = views.images[torch.randperm(len(views), generator=torch.Generator().manual_seed(2))]
    reason = diagnose(replace(views, images=images)).reason()
    assert reason is not None and reason.key in ("no_depths", "inexact_cameras")


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
