"""Frames in which a light is fixed: the world's, or each camera's own.

A light fixed to the camera is that of a turntable capture: the object turns, camera and lights stay. In transforms.json
it is the cameras that go around, and such a light goes with them. Its directions and places are then in the camera's
frame: +x right, +y down, +z the way the camera looks.
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
    """[1 or N, 3]: one direction [3] of the frame in the world, once or for each of the N cameras."""
    if frame == "world":
        return direction[None]
    return (cameras.cam_from_world[:, :3, :3] * direction[None, :, None]).sum(1)


def places_of_views(cameras: Cameras, frame: str, place: Tensor) -> Tensor:
    """[1 or N, 3]: one place [3] of the frame in the world, once or for each of the N cameras."""
    if frame == "world":
        return place[None]
    offset = place - cameras.cam_from_world[:, :3, 3]
    return (cameras.cam_from_world[:, :3, :3] * offset[:, :, None]).sum(1)


def direction_to_world(surface: ShadingPoints, frame: str, direction: Tensor) -> Tensor:
    """[M or 1, 3]: one direction [3] of the frame, in the world, at each point of the surface."""
    found = directions_of_views(surface.cameras, frame, direction)
    return found if frame == "world" else found.index_select(0, surface.view)


def place_to_world(surface: ShadingPoints, frame: str, place: Tensor) -> Tensor:
    """[M or 1, 3]: one place [3] of the frame, in the world, at each point of the surface."""
    found = places_of_views(surface.cameras, frame, place)
    return found if frame == "world" else found.index_select(0, surface.view)


def directions_from_world(surface: ShadingPoints, frame: str, directions_w: Tensor) -> Tensor:
    """[M, 3] directions of the world at the points of the surface, in the frame."""
    if frame == "world":
        return directions_w
    rotation = surface.cameras.cam_from_world[:, :3, :3].index_select(0, surface.view)
    return (rotation * directions_w[:, None, :]).sum(-1)


def directions_to_world(surface: ShadingPoints, frame: str, directions: Tensor) -> Tensor:
    """[M or 1, S, 3]: S directions of the frame [S, 3], in the world, at each point of the surface."""
    if frame == "world":
        return directions[None]
    rotation = surface.cameras.cam_from_world[:, :3, :3].index_select(0, surface.view)
    return torch.einsum("mji,sj->msi", rotation, directions)
