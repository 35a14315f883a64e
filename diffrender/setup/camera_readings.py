"""Other conventions that the camera matrices of a capture may be in, and the cameras that they then mean."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.geometry.camera_axes import to_opencv_axes
from diffrender.geometry.rigid import OPENCV_FROM_OPENGL, invert_rigid, make_rigid
from diffrender.scene.cameras import Cameras


class Reading(NamedTuple):
    """A convention that `transform_matrix` may be in, what to do then, and the cameras that it means.

    is_common: whether the cameras' sights alone may tell it; others need masks.
    """

    name: str
    remedy: str
    cameras: Cameras
    is_common: bool


def other_readings(cameras: Cameras, origin: tuple[float, float, float]) -> list[Reading]:
    """Return what `cameras` are if their matrices, read as camera-to-world in OpenGL axes, are something else.

    origin: the point of the capture's world that is the origin of `cameras`; that of the results is amid the cameras.
    The likeliest come first.
    """
    shift = torch.eye(4, dtype=torch.float64)
    shift[:3, 3] = -torch.tensor(origin, dtype=torch.float64)
    as_read = cameras.cam_from_world.double() @ shift
    flip = OPENCV_FROM_OPENGL
    given, inverse = invert_rigid(as_read) @ flip, flip @ as_read
    rotation, point = given[:, :3, :3], given[:, :3, 3]
    turned_back, pulled_back = (
        make_rigid(rotation.mT, point),
        make_rigid(rotation, -(rotation @ point[..., None])[..., 0]),
    )
    found = [
        ("OpenCV axes (y down, z forward)",
         "multiply the second and third column of each transform_matrix by -1", inverse, True),
        ("world-to-camera matrices in OpenCV axes",
         "invert each transform_matrix, then multiply its second and third column by -1", given, True),
        ("world-to-camera matrices", "invert each transform_matrix", flip @ given, True),
        ("axes of PyTorch3D (x left, y up)",
         "multiply the first and third column of each transform_matrix by -1",
         to_opencv_axes(inverse, "pytorch3d"), False),
        ("axes of LLFF (x down, y right)",
         "make the columns 2, -1 and 3 of each transform_matrix its first three",
         to_opencv_axes(inverse, "llff"), False),
        ("world-to-camera rotations beside camera positions",
         "transpose the upper left 3 x 3 of each transform_matrix", flip @ invert_rigid(turned_back), False),
        ("world-to-camera rotations in OpenCV axes beside camera positions",
         "transpose the upper left 3 x 3 of each transform_matrix, then multiply its second and third column by -1",
         invert_rigid(turned_back), False),
        ("camera-to-world rotations beside world-to-camera translations",
         "replace the translation t of each transform_matrix [R t] by -R t", flip @ invert_rigid(pulled_back), False),
        ("camera-to-world rotations in OpenCV axes beside world-to-camera translations",
         "replace the translation t of each transform_matrix [R t] by -R t, then multiply its second and third column"
         " by -1", invert_rigid(pulled_back), False),
    ]  # fmt: skip
    return [
        Reading(name, remedy, replace(cameras, cam_from_world=_about_their_middle(matrices)), is_common)
        for name, remedy, matrices, is_common in found
    ]


def _about_their_middle(cam_from_world: Tensor) -> Tensor:
    """Return cam_from_world [N, 4, 4] in float32, of a world whose origin is amid the cameras."""
    shift = torch.eye(4, dtype=torch.float64)
    shift[:3, 3] = invert_rigid(cam_from_world)[:, :3, 3].mean(0)
    return (cam_from_world @ shift).float()
