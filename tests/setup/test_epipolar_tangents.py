"""Tangent planes of pairs of views: shifts of pictures are found, and told from masks that are wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.planted import capture, turn_cameras_a_little

from diffrender.config.load import parse_config
from diffrender.errors import ConfigError
from diffrender.readers.captures import read_capture
from diffrender.readers.captures.capture import CaptureOptions
from diffrender.scene.cameras import Cameras
from diffrender.scene.target_views import Views
from diffrender.scene.turn_cameras import turn_cameras
from diffrender.setup.epipolar_tangents import find_tangents, measure_camera_errors, shift_all
from diffrender.setup.fit_setup import FitSetup, build_fit


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Views:
    folder = tmp_path_factory.mktemp("sound")
    return read_capture(capture(folder).write(folder / "capture"), CaptureOptions()).views


def turned(views: Views, degrees: float) -> Views:
    turns = torch.randn(len(views), 3, generator=torch.Generator().manual_seed(0)) * math.radians(degrees)
    return replace(views, cameras=turn_cameras(views.cameras, turns))


def bitten(views: Views) -> Views:
    """Each mask lacks a quarter that begins at its middle: of another side in each."""
    masks = views.masks.clone()
    for view in range(len(views)):
        rows, columns = masks[view].nonzero().float().mean(0).long().tolist()
        upright = slice(rows, None) if view % 2 else slice(None, rows)
        masks[view][upright, slice(columns, None) if view // 2 % 2 else slice(None, columns)] = 0
    return replace(views, masks=masks)


def test_of_a_sound_capture_planes_agree(sound: Views) -> None:
    found = measure_camera_errors(sound)
    assert found is not None and not found.are_of_cameras
    assert found.before < 0.12 and float(found.px.norm(dim=1).max()) < 0.15


@pytest.mark.parametrize("degrees", [0.3, 1.0])
def test_turns_of_cameras_are_shifts_of_pictures(sound: Views, degrees: float) -> None:
    found = measure_camera_errors(turned(sound, degrees))
    assert found is not None and found.are_of_cameras and found.after < 0.1
    cameras = turned(sound, degrees).cameras
    ahead = torch.zeros(1, 3)
    moved = cameras.world_to_pixels(ahead)[:, 0, :2] - sound.cameras.world_to_pixels(ahead)[:, 0, :2]
    # A common motion of all cameras is not seen; that of ten at random is small.
    error = (found.px - moved - (found.px - moved).mean(0)).norm(dim=1).square().mean().sqrt()
    assert float(error) < 0.35 * float(moved.norm(dim=1).square().mean().sqrt())


def test_masks_that_are_wrong_are_not_cameras(sound: Views) -> None:
    found = measure_camera_errors(bitten(sound))
    assert found is not None and not found.are_of_cameras and found.before > 0.12


def test_one_picture_that_is_wrong_is_an_outlier(sound: Views) -> None:
    masks = sound.masks.clone()
    masks[4] = masks[4].roll(6, 1)
    found = measure_camera_errors(replace(sound, masks=masks))
    assert found is not None and not found.are_of_cameras


def test_a_shift_of_all_pictures_is_found_with_its_error(sound: Views) -> None:
    cameras = replace(sound.cameras, center_px=sound.cameras.center_px - 0.5)
    found = shift_all(find_tangents(replace(sound, cameras=cameras)))
    assert found is not None and found.after < 0.7 * found.before
    assert bool(((found.px[0] + 0.5).abs() < 3 * found.errors[0] + 0.03).all())
    assert float(found.errors[0, 0]) < 0.03


def test_outlines_that_leave_the_picture_have_no_tangent_there(sound: Views) -> None:
    left = replace(sound, masks=sound.masks.clone())
    assert left.masks is not None
    left.masks[2, :, :20] = 1
    before, after = (find_tangents(views) for views in (sound, left))
    assert len(after.apart) < len(before.apart)
    assert bool((after.apart.abs() < 0.1).all())


def parallel(views: Views) -> Views:
    eyes = views.cameras.positions_w()
    size = views.cameras.height
    return replace(views, cameras=Cameras.parallel(eyes, view_height=2.5, height=size, width=size))


@pytest.mark.parametrize("change", [parallel, lambda views: views.select([0, 1, 2])])
def test_what_cannot_be_told_is_none(sound: Views, change: Callable[[Views], Views]) -> None:
    assert measure_camera_errors(change(sound)) is None


def built(folder: Path, degrees: float, text: str = "") -> FitSetup:
    planted = capture(folder)
    turn_cameras_a_little(planted, degrees)
    planted.write(folder / "capture")
    return build_fit(parse_config("targets: {path: capture, test_every: null}\n" + text, folder))


def test_poses_are_learned_where_cameras_are_not_exact_and_only_there(tmp_path: Path) -> None:
    setup = built(tmp_path, 0.0)
    assert setup.camera_poses is None and "optimize.cameras.pose" not in setup.reasons
    setup = built(tmp_path, 1.0)
    assert setup.camera_poses is not None and setup.settings.batch_size == 16
    assert "outlines disagree by" in setup.reasons["optimize.cameras.pose"]
    assert "turned by" in setup.reasons["optimize.cameras.pose"]
    found = measure_camera_errors(setup.fit_views.to("cpu"))
    assert found is not None and not found.are_of_cameras  # they start where masks agree
    for text in ("optimize: {cameras.pose: off}", "mesh: sphere", "optimize: {pose: {}}\npose: {}\nmesh: sphere"):
        assert built(tmp_path, 1.0, text).camera_poses is None


def test_a_view_that_disagrees_does_not_carve(tmp_path: Path) -> None:
    def hull(text: str = "", spoil: bool = False) -> FitSetup:
        planted = capture(tmp_path)
        if spoil:
            planted.pictures[3, ..., 3] = planted.pictures[3, ..., 3].copy()[:, ::-1].T
            planted.pictures[3, :, :20, 3] = 0
        planted.write(tmp_path / "capture")
        return build_fit(parse_config("targets: {path: capture, test_every: null}\n" + text, tmp_path))

    def vertices(setup: FitSetup) -> torch.Tensor:
        (item,) = setup.scene.objects.values()
        return item.mesh.vertices

    sound = hull()
    assert not any("carved without" in note for note in sound.notes)
    assert torch.equal(vertices(sound), vertices(hull("mesh: {init: visual_hull, leave_out: []}")))
    without = vertices(hull("mesh: {init: visual_hull, leave_out: [view_03]}"))
    found = hull(spoil=True)
    assert any("carved without view_03, whose mask does not agree" in note for note in found.notes)
    assert found.config.mesh.leave_out == ["view_03"]
    assert torch.equal(vertices(found), without)
    carved = vertices(hull("mesh: {init: visual_hull, leave_out: []}", spoil=True))
    extents = [float((each.amax(0) - each.amin(0)).prod()) for each in (carved, without)]
    assert extents[0] < 0.8 * extents[1]
    with pytest.raises(ConfigError, match=r"mesh.leave_out: view_3 is not among the fitted views; they are view_00"):
        hull("mesh: {init: visual_hull, leave_out: [view_3]}")
    with pytest.raises(ConfigError, match="names all 10 fitted views"):
        hull(f"mesh: {{init: visual_hull, leave_out: {[f'view_{i:02d}' for i in range(10)]}}}")
