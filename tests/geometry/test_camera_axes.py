"""The same point, seen by a camera of each convention."""

from __future__ import annotations

import pytest
import torch

from diffrender.errors import ShapeError
from diffrender.geometry.camera_axes import CAMERA_AXES, from_opencv_axes, to_opencv_axes
from diffrender.geometry.rigid import check_rigid
from diffrender.geometry.rotations import axis_angle_to_matrix

# A point 1 to the right of, 2 below and 3 in front of the camera.
SEEN = {
    "opencv": [1.0, 2.0, 3.0],
    "opengl": [1.0, -2.0, -3.0],
    "blender": [1.0, -2.0, -3.0],
    "pytorch3d": [-1.0, -2.0, 3.0],
    "llff": [2.0, 1.0, -3.0],
}


def test_every_convention_has_its_point():
    assert set(SEEN) == set(CAMERA_AXES)


@pytest.mark.parametrize("convention", CAMERA_AXES)
def test_the_point_right_below_and_in_front(convention):
    pose = torch.eye(4).repeat(2, 1, 1)
    pose[:, :3, :3] = axis_angle_to_matrix(torch.tensor([[0.1, -0.5, 0.3], [0.7, 0.2, -0.1]]))
    pose[:, :3, 3] = torch.tensor([0.5, -1.0, 2.0])
    other = from_opencv_axes(pose, convention)
    check_rigid("", "", other)
    world = torch.linalg.solve(pose, torch.tensor([1.0, 2.0, 3.0, 1.0]).expand(2, 4))
    expected = torch.tensor([*SEEN[convention], 1.0]).expand(2, 4)
    torch.testing.assert_close((other @ world[..., None])[..., 0], expected, atol=1e-5, rtol=0)
    assert torch.equal(to_opencv_axes(other, convention), pose)


@pytest.mark.parametrize("convert", [to_opencv_axes, from_opencv_axes])
def test_unknown_axes_are_refused_with_the_choices(convert):
    with pytest.raises(
        ShapeError, match=f"{convert.__name__}: convention must be one of opencv, opengl, .*, got 'unity'"
    ):
        convert(torch.eye(4), "unity")
