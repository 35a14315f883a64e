"""Move whole scenes and cameras, as between a fit's local origin and the user's world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from diffrender.geometry.rigid import invert_rigid, make_rigid
from diffrender.scene.cameras import Cameras
from diffrender.scene.light import Light
from diffrender.scene.motion import Motion
from diffrender.scene.parameter_paths import ParameterPath
from diffrender.scene.quantity_kinds import POSITION, kinds_of
from diffrender.scene.scene import Scene


def move_scene(scene: Scene, by: Sequence[float]) -> Scene:
    """Return `scene` moved by `by`: poses of objects, and lights at positions fixed to the world, in float64."""
    if not any(by):
        return scene
    objects, lights = {}, {}
    for name, item in scene.objects.items():
        pose = item.pose.detach().double()
        objects[name] = replace(item, pose=torch.cat([pose[:, :3], pose[:, 3:] + _column(by, pose)], 1))
    for name, light in scene.lights.items():
        kinds = kinds_of(light) if getattr(light, "frame", "world") == "world" else {}
        values = {field: getattr(light, field) for field, kind in kinds.items() if kind == POSITION}
        moved = {
            field: value.detach().double() + value.new_tensor(by, dtype=torch.float64)
            for field, value in values.items()
        }
        lights[name] = replace(light, **moved)  # type: ignore[type-var]
    return replace(scene, objects=objects, lights=lights, motion=_move_motion(scene, lights, by))


def _move_motion(scene: Scene, moved: Mapping[str, Light], by: Sequence[float]) -> Motion | None:
    """Return the motion of `scene` moved by `by`. moved: its lights, after they were moved."""
    if scene.motion is None:
        return None
    values = dict(scene.motion.values)
    for path, value in values.items():
        parts = ParameterPath.parse(path)
        if parts.root == "objects" and parts.field == "pose":
            pose = value.detach().double()
            values[path] = torch.cat([pose[..., :3], pose[..., 3:] + _column(by, pose)], -1)
        light = moved.get(parts.name) if parts.root == "lights" else None
        is_fixed = light is not None and getattr(light, "frame", "world") == "world"
        if is_fixed and kinds_of(light)[parts.field] == POSITION:
            values[path] = value.detach().double() + value.new_tensor(by, dtype=torch.float64)
    return Motion(scene.motion.times, values)


def move_cameras(cameras: Cameras, by: Sequence[float]) -> Cameras:
    """Return `cameras` moved by `by`, in float64."""
    if not any(by):
        return cameras
    world_from_cam = invert_rigid(cameras.cam_from_world.detach().double())
    # To the nearest rotation: the rounding of a float32 one would be multiplied by the distance.
    left, _, right = torch.linalg.svd(world_from_cam[:, :3, :3])
    moved = make_rigid(left @ right, world_from_cam[:, :3, 3] + world_from_cam.new_tensor(by))
    return replace(cameras, cam_from_world=invert_rigid(moved))


def _column(by: Sequence[float], like: torch.Tensor) -> torch.Tensor:
    return like.new_tensor([*by, 0.0])[:, None]
