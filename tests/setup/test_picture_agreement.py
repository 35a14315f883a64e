"""How far pictures are beside each other where depths put them, and what follows for the cameras."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.table_scenes import BALL, ball_on_a_table, orbit, table_scene, write

from diffrender.config.load import parse_config
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.scene.cameras import Cameras
from diffrender.setup.best_defaults import choose_poses
from diffrender.setup.fit_setup import FitSetup, build_fit
from diffrender.setup.picture_agreement import INEXACT_PX, measure_misfit
from diffrender.setup.swept_views import sweep_views
from diffrender.writers.cameras import write_transforms


def turned(cameras: Cameras, degrees: float) -> Cameras:
    """Return cameras that are turned by so much, each about another axis through itself."""
    axes = torch.nn.functional.normalize(
        torch.randn(len(cameras), 3, generator=torch.Generator().manual_seed(1)), dim=1
    )
    turn = torch.eye(4).repeat(len(cameras), 1, 1)
    turn[:, :3, :3] = axis_angle_to_matrix(torch.deg2rad(torch.tensor(degrees)) * axes)
    return replace(cameras, cam_from_world=turn @ cameras.cam_from_world)


@pytest.mark.parametrize("unit", [1.0, 2.0**-13])
def test_pictures_fit_onto_each_other_only_through_exact_cameras(unit: float) -> None:
    views = ball_on_a_table()
    misfits = []
    for degrees in (0.0, 0.3, 0.6):
        cameras = turned(views.cameras, degrees)
        moved = cameras.cam_from_world.clone()
        moved[:, :3, 3] *= unit
        misfits.append(
            measure_misfit(sweep_views(replace(views, cameras=replace(cameras, cam_from_world=moved)), None))
        )
    exact, some, more = misfits
    assert exact is not None and some is not None and more is not None
    assert exact < 0.15 < INEXACT_PX < some < more


def test_pictures_that_show_little_tell_nothing() -> None:
    views = ball_on_a_table()
    swept = sweep_views(views, None)
    nothing = swept.depths._replace(is_reliable=torch.zeros_like(swept.depths.is_reliable))
    assert measure_misfit(swept._replace(depths=nothing)) is None


@pytest.mark.parametrize("objects", [{"ball": BALL}, {}])
def test_poses_of_cameras_are_learned_if_pictures_do_not_fit(tmp_path: Path, objects: dict[str, object]) -> None:
    cameras = orbit(size=96)
    write(tmp_path, table_scene(**objects), cameras)

    def build() -> FitSetup:
        return build_fit(parse_config("targets: {path: .}", tmp_path))

    exact = build()
    assert "cameras.pose" not in exact.config.optimize.parameters()
    assert not any("not exact" in note for note in exact.notes)
    write_transforms(tmp_path / "transforms.json", turned(cameras, 0.6), [f"{view}.png" for view in range(24)])
    inexact = build()
    assert "cameras.pose" in inexact.config.optimize.parameters()
    assert "beside each other where depths put them: cameras are not exact" in inexact.reasons["optimize.cameras.pose"]
    assert any("pixels beside each other" in note for note in inexact.notes)
    refused = parse_config("targets: {path: .}\noptimize: {cameras.pose: off}", tmp_path)
    assert choose_poses(refused, inexact.fit_views, 2 * INEXACT_PX) == (refused, {})
