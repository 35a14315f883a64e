"""Motion: values per time, found by the times of cameras, moved, covered in clay and saved with their scene."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from diffrender.errors import ShapeError
from diffrender.geometry.primitives import icosphere
from diffrender.scene.cameras import Cameras, concatenate_cameras
from diffrender.scene.clay import cover_in_clay
from diffrender.scene.lights.point import Point
from diffrender.scene.materials.unlit import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.motion import Motion
from diffrender.scene.move_scene import move_scene
from diffrender.scene.object import Object
from diffrender.scene.parameter_paths import scene_at
from diffrender.scene.scene import Scene
from diffrender.setup.saved_scene import SavedScene, load_scene, save_scene

TIMES = torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64)


def moving() -> Scene:
    ball = icosphere(1)
    poses = torch.eye(4).repeat(3, 1, 1)
    poses[:, 0, 3] = torch.tensor([-1.0, 0.0, 1.0])
    values = {
        "objects.ball.pose": poses,
        "objects.ball.material.base_color": torch.rand(3, 3),
        "lights.lamp.position": torch.rand(3, 3),
    }
    still = Scene({"ball": Object(Mesh(ball.vertices, ball.faces), Unlit(torch.ones(3)))}, {"lamp": Point()})
    return replace(still, motion=Motion(TIMES, values))


def test_a_scene_at_a_time_has_the_values_of_that_time_and_no_motion() -> None:
    scene = moving()
    assert scene.motion is not None
    for row in range(3):
        still = scene_at(scene, row)
        assert still.motion is None
        assert torch.equal(still.objects["ball"].pose, scene.motion.values["objects.ball.pose"][row])
        assert torch.equal(still.lights["lamp"].position, scene.motion.values["lights.lamp.position"][row])  # type: ignore[attr-defined]
        assert still.objects["ball"].mesh is scene.objects["ball"].mesh


def test_the_nearest_time_counts() -> None:
    motion = moving().motion
    assert motion is not None
    assert motion.rows_at(torch.tensor([-7.0, 0.2, 0.3, 1.2, 1.3, 9.0], dtype=torch.float64)) == [0, 0, 1, 1, 2, 2]


def test_in_clay_shapes_move_and_colours_do_not() -> None:
    clay = scene_at(cover_in_clay(moving()), 2)
    assert float(clay.objects["ball"].pose[0, 3]) == 1
    assert "lamp" not in clay.lights
    color = clay.objects["ball"].material.base_color
    assert torch.equal(color, cover_in_clay(moving()).objects["ball"].material.base_color) or color.shape == (3,)


def test_moving_a_scene_moves_all_its_times() -> None:
    scene = moving()
    moved = move_scene(scene, (0.0, 10.0, 0.0))
    for row in range(3):
        before, after = scene_at(scene, row), scene_at(moved, row)
        assert torch.allclose(
            after.objects["ball"].pose[:3, 3].float(),
            before.objects["ball"].pose[:3, 3] + torch.tensor([0.0, 10.0, 0.0]),
        )
        lamps = [each.lights["lamp"].position for each in (before, after)]  # type: ignore[attr-defined]
        assert torch.allclose(lamps[1].float(), lamps[0] + torch.tensor([0.0, 10.0, 0.0]))


def test_motion_program_and_times_are_saved(tmp_path: Path) -> None:
    scene = replace(moving(), program={"speed": torch.tensor(1.5, dtype=torch.float64)})
    cameras = replace(Cameras.perspective(torch.tensor([[0.0, 0.0, 3.0]]), height=4, width=4), time=TIMES[1:2])
    save_scene(tmp_path / "scene.pt", SavedScene(scene, cameras))
    read = load_scene(tmp_path / "scene.pt")
    assert read.scene.motion is not None and scene.motion is not None
    assert torch.equal(read.scene.motion.times, TIMES) and torch.equal(read.cameras.time, TIMES[1:2])
    assert all(torch.equal(value, read.scene.motion.values[path]) for path, value in scene.motion.values.items())
    assert float(read.scene.program["speed"]) == 1.5


def test_times_go_with_their_cameras() -> None:
    cameras = Cameras.perspective(torch.tensor([[0.0, 0.0, 3.0]] * 3), height=4, width=4)
    timed = replace(cameras, time=TIMES)
    assert timed.select([2, 0]).time.tolist() == [2.0, 0.0]
    assert concatenate_cameras(timed, timed.select([1])).time.tolist() == [0.0, 0.5, 2.0, 0.5]
    assert concatenate_cameras(timed, cameras).time is None
    with pytest.raises(ShapeError, match="time must have shape"):
        replace(cameras, time=TIMES[:2])


@pytest.mark.parametrize(
    ("times", "rows", "words"),
    [([0.0, 0.0], 2, "must increase"), ([], 0, "at least one"), ([0.0, 1.0], 3, "one row per time")],
)
def test_bad_motion_is_refused(times: list[float], rows: int, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        Motion(torch.tensor(times, dtype=torch.float64), {"background": torch.zeros(rows, 3)})
