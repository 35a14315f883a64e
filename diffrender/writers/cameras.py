"""Cameras as transforms.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from diffrender.errors import ShapeError
from diffrender.scene.cameras import Cameras
from diffrender.scene.projections import projection_name
from diffrender.writers.run.metrics import write_json

# From our camera axes (OpenCV: y down, z forward) to those of OpenGL and glTF (y up, z backward), and back.
OPENCV_FROM_OPENGL = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))


def world_from_opengl_cameras(cameras: Cameras) -> torch.Tensor:
    """[N, 4, 4] float64: world_from_camera of `cameras` in OpenGL's axes (+x right, +y up, -z forward)."""
    cam_from_world = cameras.cam_from_world.detach().to("cpu", torch.float64)
    rotation = cam_from_world[:, :3, :3].transpose(1, 2)
    world_from_cam = torch.eye(4, dtype=torch.float64).repeat(len(cameras), 1, 1)
    world_from_cam[:, :3, :3] = rotation
    world_from_cam[:, :3, 3] = -(rotation @ cam_from_world[:, :3, 3:])[..., 0]
    return world_from_cam @ OPENCV_FROM_OPENGL


def write_transforms(path: Path, cameras: Cameras, names: Sequence[str]) -> None:
    """Write cameras in nerfstudio's dialect of transforms.json: per-frame intrinsics, OpenGL camera-to-world matrices.

    names: one a camera, written as `file_path`.

    A frame holds `exposure` (stops) and `white_balance` (gains of R, G, B) where the cameras have them.
    `camera_model` is the projection's name in scene.projections.PROJECTIONS; the parameters of a lens stand in the
    frames. Of "ORTHOGRAPHIC" cameras, focal lengths are in pixels per world unit.

    Raises: ShapeError where names and cameras differ in number; DataError where the file cannot be written.
    """
    if len(names) != len(cameras):
        raise ShapeError(f"write_transforms: names must have one entry a camera ({len(cameras)}), got {len(names)}")
    matrices = world_from_opengl_cameras(cameras).tolist()
    focal_px = cameras.focal_px.detach().double().cpu().tolist()
    center_px = cameras.center_px.detach().double().cpu().tolist()
    frames = [
        {
            "file_path": name,
            "fl_x": focal[0],
            "fl_y": focal[1],
            "cx": center[0],
            "cy": center[1],
            "w": cameras.width,
            "h": cameras.height,
            "transform_matrix": matrix,
            **others,
        }
        for name, matrix, focal, center, others in zip(
            names, matrices, focal_px, center_px, _lens_and_gains(cameras), strict=True
        )
    ]
    write_json(path, {"camera_model": projection_name(cameras.projection), "frames": frames})


def _lens_and_gains(cameras: Cameras) -> list[dict[str, object]]:
    """What else there is to say of each picture: the parameters of its lens, and its exposure."""
    rows: list[dict[str, object]] = [{} for _ in range(len(cameras))]
    columns = {**cameras.projection.parameters(), "exposure": cameras.exposure, "white_balance": cameras.white_balance}
    for name, values in columns.items():
        if values is not None:
            rows = [row | {name: value} for row, value in zip(rows, values.detach().tolist(), strict=True)]
    return rows
