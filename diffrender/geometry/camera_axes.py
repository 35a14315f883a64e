"""The axes that programs give a camera, and poses from one to another."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.checks import check_float
from diffrender.errors import ShapeError
from diffrender.geometry.rigid import OPENCV_FROM_OPENGL

# Takes points of a camera with OpenCV's axes (x right, y down, z forward) to those of each convention.
# Source: the documentations of OpenCV (calib3d), OpenGL, Blender (cameras look along -z) and PyTorch3D ("Cameras").
CAMERA_AXES: dict[str, Tensor] = {
    "opencv": torch.eye(4, dtype=torch.float64),
    "opengl": OPENCV_FROM_OPENGL,  # x right, y up, z backward
    "blender": OPENCV_FROM_OPENGL,
    "pytorch3d": torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64)),  # x left, y up, z forward
    # x down, y right, z backward. Source: LLFF (B. Mildenhall and others), the readme, "poses_bounds.npy".
    "llff": torch.tensor([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]], dtype=torch.float64),
}


def to_opencv_axes(cam_from_world: Tensor, convention: str) -> Tensor:
    """Return poses [..., 4, 4] of cameras with the axes of `convention`, a key of CAMERA_AXES, for OpenCV's axes.

    Both take column vectors of the world to the camera: x_camera = cam_from_world x_world.
    Raises ShapeError if the convention is not known.
    """
    check_float("to_opencv_axes", "cam_from_world", cam_from_world)
    return _axes("to_opencv_axes", convention).T.to(cam_from_world) @ cam_from_world


def from_opencv_axes(cam_from_world: Tensor, convention: str) -> Tensor:
    """Return poses [..., 4, 4] of cameras with OpenCV's axes for those of `convention`: inverse of `to_opencv_axes`."""
    check_float("from_opencv_axes", "cam_from_world", cam_from_world)
    return _axes("from_opencv_axes", convention).to(cam_from_world) @ cam_from_world


def _axes(function: str, convention: str) -> Tensor:
    if convention not in CAMERA_AXES:
        raise ShapeError(f"{function}: convention must be one of {', '.join(CAMERA_AXES)}, got {convention!r}")
    return CAMERA_AXES[convention]
