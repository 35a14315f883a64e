"""Cameras as transforms.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from diffrender.errors import ShapeError
from diffrender.geometry.rigid import OPENCV_FROM_OPENGL, invert_rigid
from diffrender.scene.cameras import PHOTOMETRY, Cameras
from diffrender.scene.projections import projection_name
from diffrender.writers.run.metrics import write_json


def world_from_opengl_cameras(cameras: Cameras) -> torch.Tensor:
    """Return world_from_camera of `cameras`, [N, 4, 4] float64, in OpenGL's axes (+x right, +y up, -z forward)."""
    return invert_rigid(cameras.cam_from_world.detach().to("cpu", torch.float64)) @ OPENCV_FROM_OPENGL


def write_transforms(
    path: Path, cameras: Cameras, names: Sequence[str], boxes: Sequence[Sequence[int]] | None = None
) -> None:
    """Write cameras in nerfstudio's dialect of transforms.json: per-frame intrinsics, OpenGL camera-to-world matrices.

    names: one per camera, written as `file_path`.
    boxes: (top, left, height, width) of each photograph in the image of its camera, in pixels: sizes and principal
        points are written for the photographs alone. None: they are the images.

    A frame has `exposure` (stops), `white_balance` (gains of R, G, B), `vignetting` (of r^2, r^4, r^6 in halves of the
    photograph's diagonal) and `response` (imaging.response), and `time` (seconds), those of them
    that the cameras have.
    `camera_model` is the name in scene.projections.PROJECTIONS; the parameters of a lens are in the frames.
    Focal lengths of "ORTHOGRAPHIC" cameras are in pixels per world unit.

    Raises ShapeError if names and cameras differ in number, DataError if the file cannot be written.
    """
    write_json(path, transforms_of(cameras, names, boxes))


def transforms_of(
    cameras: Cameras, names: Sequence[str], boxes: Sequence[Sequence[int]] | None = None
) -> dict[str, Any]:
    """Return the content of `write_transforms`."""
    if len(names) != len(cameras):
        raise ShapeError(f"write_transforms: names must have one entry per camera ({len(cameras)}), got {len(names)}")
    matrices = world_from_opengl_cameras(cameras).tolist()
    focal_px = cameras.focal_px.detach().double().cpu().tolist()
    center_px = cameras.center_px.detach().double().cpu().tolist()
    boxes = [(0, 0, cameras.height, cameras.width)] * len(cameras) if boxes is None else boxes
    frames = [
        {
            "file_path": name,
            "fl_x": focal[0],
            "fl_y": focal[1],
            "cx": center[0] - left,
            "cy": center[1] - top,
            "w": width,
            "h": height,
            "transform_matrix": matrix,
            **others,
        }
        for name, matrix, focal, center, (top, left, height, width), others in zip(
            names, matrices, focal_px, center_px, boxes, _lens_and_photometry(cameras, boxes), strict=True
        )
    ]
    return {"camera_model": projection_name(cameras.projection), "frames": frames}


def _lens_and_photometry(cameras: Cameras, boxes: Sequence[Sequence[int]]) -> list[dict[str, object]]:
    """Return what else there is to say of each picture: the parameters of its lens, and how light became it."""
    rows: list[dict[str, object]] = [{} for _ in range(len(cameras))]
    columns = {**cameras.projection.parameters(), **{name: getattr(cameras, name) for name in (*PHOTOMETRY, "time")}}
    if cameras.vignetting is not None:
        sizes = torch.tensor([box[2:] for box in boxes], dtype=torch.float64)
        squared = sizes.square().sum(1, keepdim=True) / (cameras.height**2 + cameras.width**2)
        columns["vignetting"] = cameras.vignetting.detach().cpu() * torch.cat([squared, squared**2, squared**3], 1)
    for name, values in columns.items():
        if values is not None:
            rows = [row | {name: value} for row, value in zip(rows, values.detach().tolist(), strict=True)]
    return rows
