"""Write turntable videos: the objects turn, camera and lights stay."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from diffrender.geometry.rigid import make_rigid
from diffrender.geometry.rotations import axis_angle_to_matrix
from diffrender.imaging.tone_mapping import PLAIN, Display
from diffrender.render.render import RenderViews
from diffrender.scene.cameras import Cameras
from diffrender.scene.scene import Scene
from diffrender.writers.images.png import encode_srgb8
from diffrender.writers.images.video import write_video

FRAMES = 48
FPS = 16.0
LONG_SIDE = 320
# Elevation of the camera, and the factor by which the view is wider than the objects.
ELEVATION_DEG = 20.0
MARGIN = 1.15
FOV_DEG = 35.0
# Up is not known if the up axes of the cameras cancel each other.
LEAST_AGREEMENT = 0.1


@torch.no_grad()
def write_turntable(
    path: Path,
    scene: Scene,
    cameras: Cameras,
    render_views: RenderViews,
    frames: int = FRAMES,
    display: Display = PLAIN,
) -> None:
    """Write an MP4 of one turn of all objects about the vertical axis through their middle.

    Lights, environment and camera stay, and so does what moves. Up is the mean up axis of `cameras`; the video is
    seen from the side of the first of them. Raises DataError if the video cannot be written.
    display: how light becomes a picture.
    """
    up = upward(cameras)
    center, radius = bounding_ball(scene)
    camera = _place_camera(cameras, up, center, radius)
    turns = _render_frames(replace(scene, motion=None), camera, up, center, render_views, frames)
    write_video((encode_srgb8(display.map_tones(image)) for image in turns), path, FPS)


def upward(cameras: Cameras) -> Tensor:
    """Return the mean up axis of the cameras in the world, unit [3]; +y if they do not agree."""
    mean = -cameras.cam_from_world[:, 1, :3].detach().mean(0)
    if float(mean.norm()) < LEAST_AGREEMENT:
        return mean.new_tensor([0.0, 1.0, 0.0])
    return torch.nn.functional.normalize(mean, dim=0)


def rotate_objects(scene: Scene, up: Tensor, center: Tensor, angle_rad: float) -> Scene:
    """Rotate the objects of `scene` about the axis `up` through `center`; lights stay."""
    rotation = axis_angle_to_matrix(up * angle_rad)
    motion = make_rigid(rotation, center - rotation @ center)
    objects = {name: replace(item, pose=motion @ item.pose) for name, item in scene.objects.items()}
    return replace(scene, objects=objects)


def _render_frames(
    scene: Scene, camera: Cameras, up: Tensor, center: Tensor, render_views: RenderViews, frames: int
) -> Iterator[Tensor]:
    for frame in range(frames):
        moved = rotate_objects(scene, up, center, 2 * math.pi * frame / frames)
        yield render_views(moved, camera).rgba[0, ..., :3]


def bounding_ball(scene: Scene) -> tuple[Tensor, Tensor]:
    """Return the middle [3] of the bounding box of all vertices, and the largest distance [] from it."""
    vertices = torch.cat([item.vertices_w() for item in scene.objects.values()])
    center = (vertices.amin(0) + vertices.amax(0)) / 2
    return center, (vertices - center).norm(dim=1).amax().clamp_min(1e-30)


def _place_camera(cameras: Cameras, up: Tensor, center: Tensor, radius: Tensor) -> Cameras:
    aspect = cameras.width / cameras.height
    width, height = (LONG_SIDE, round(LONG_SIDE / aspect)) if aspect > 1 else (round(LONG_SIDE * aspect), LONG_SIDE)
    towards = cameras.positions_w()[0].detach() - center
    side = towards - up * (towards @ up)
    if float(side.norm()) <= 1e-6 * float(towards.norm()):
        # Seen straight from above, any side will do.
        helper = torch.zeros_like(up)
        helper[up.abs().argmin()] = 1.0
        side = torch.linalg.cross(up, helper)
    elevation = math.radians(ELEVATION_DEG)
    direction = torch.nn.functional.normalize(side, dim=0) * math.cos(elevation) + up * math.sin(elevation)
    half = math.radians(FOV_DEG) / 2
    # The narrower of the two fields of view must contain the bounding ball.
    half = min(half, math.atan(math.tan(half) * width / height))
    eye = center + direction * (MARGIN * radius / math.sin(half))
    return Cameras.perspective(
        eye[None], center, up, fov_deg=FOV_DEG, height=max(height, 2), width=max(width, 2), near=float(radius) * 1e-3
    )
