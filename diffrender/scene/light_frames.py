"""Frames of lights: a light is fixed to the world or to the camera.

A light fixed to the camera is that of a turntable capture: the object turns, camera and lights stay. In transforms.json
the cameras move instead, and such a light moves with them. Its directions and positions are in the camera frame: +x
right, +y down, +z forward.
"""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.errors import ConfigError
from diffrender.scene.cameras import Cameras
from diffrender.scene.shading_points import ShadingPoints

FRAMES = ("world", "camera")


def check_frame(light: str, frame: str) -> None:
    """Raise ConfigError unless `frame` is one of FRAMES."""
    if frame not in FRAMES:
        raise ConfigError(f"{light}: frame must be one of {', '.join(FRAMES)}, got {frame!r}")


def directions_of_views(cameras: Cameras, frame: str, direction: Tensor) -> Tensor:
    """Return a direction [3] of the frame in the world: [1, 3], or [N, 3] for N cameras if the frame is theirs."""
    if frame == "world":
        return direction[None]
    return (cameras.cam_from_world[:, :3, :3] * direction[None, :, None]).sum(1)


def positions_of_views(cameras: Cameras, frame: str, position: Tensor) -> Tensor:
    """Return a position [3] of the frame in the world: [1, 3], or [N, 3] for N cameras if the frame is theirs."""
    if frame == "world":
        return position[None]
    offset = position - cameras.cam_from_world[:, :3, 3]
    return (cameras.cam_from_world[:, :3, :3] * offset[:, :, None]).sum(1)


def direction_to_world(surface: ShadingPoints, frame: str, direction: Tensor) -> Tensor:
    """Return a direction [3] of the frame in the world at each point of the surface: [M or 1, 3]."""
    direction_w = directions_of_views(surface.cameras, frame, direction)
    return direction_w if frame == "world" else direction_w.index_select(0, surface.view)


def position_to_world(surface: ShadingPoints, frame: str, position: Tensor) -> Tensor:
    """Return a position [3] of the frame in the world at each point of the surface: [M or 1, 3]."""
    position_w = positions_of_views(surface.cameras, frame, position)
    return position_w if frame == "world" else position_w.index_select(0, surface.view)


def directions_from_world(surface: ShadingPoints, frame: str, directions_w: Tensor) -> Tensor:
    """Return world directions [M, ..., 3] at the points of the surface in the frame: [M, ..., 3]."""
    if frame == "world":
        return directions_w
    rotation = surface.cameras.cam_from_world[:, :3, :3].index_select(0, surface.view)
    return torch.einsum("mij,m...j->m...i", rotation, directions_w)


def directions_to_world(surface: ShadingPoints, frame: str, directions: Tensor) -> Tensor:
    """Return S directions [S, 3] of the frame in the world at each point of the surface: [M or 1, S, 3]."""
    if frame == "world":
        return directions[None]
    rotation = surface.cameras.cam_from_world[:, :3, :3].index_select(0, surface.view)
    return torch.einsum("mji,sj->msi", rotation, directions)
