"""What all tensors of an image have in common: one device, which is checked, and one dtype, which is made."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

import torch
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.scene.cameras import Cameras
from diffrender.scene.object import Object
from diffrender.scene.quantity_kinds import map_tensors, named_tensors
from diffrender.scene.scene import Scene


def check_one_device(scene: Scene, cameras: Cameras) -> None:
    """Raise ShapeError unless all tensors, single numbers aside, are where the vertices of the first object are."""
    wanted = next((item.mesh.vertices.device for item in scene.objects.values()), None)
    for whole, value in (("scene", scene), ("cameras", cameras)):
        for path, tensor in named_tensors(value, whole):
            if wanted is not None and tensor.device != wanted and tensor.dim():
                raise ShapeError(
                    f"render: {path} is on {tensor.device}, but the vertices of the first object are on {wanted};"
                    f" use {whole}.to({str(wanted)!r})"
                )


def in_common_dtype(scene: Scene, cameras: Cameras) -> tuple[Scene, Cameras]:
    """Return both in the widest dtype of vertices, poses and cameras: places need their digits, colours do not.

    They are returned as they are if they have it already. Gradients have the dtype that was given.
    """
    dtype = reduce(torch.promote_types, (_dtype_of(item) for item in scene.objects.values()), _dtype_of(cameras))

    def floats(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    def numbers(tensor: Tensor) -> Tensor:  # radiance may be a whole number
        return tensor.to(dtype)

    objects, lights = map_tensors(scene.objects, floats), map_tensors(scene.lights, numbers)
    if objects is not scene.objects or lights is not scene.lights or scene.background.dtype != dtype:
        scene = replace(scene, objects=objects, lights=lights, background=scene.background.to(dtype))
    return scene, cameras.in_dtype(dtype)


def narrowest_dtype(scene: Scene, cameras: Cameras) -> torch.dtype:
    """Return the dtype that places were rounded to: float32 if some mesh or the cameras are in it."""
    dtypes = {_dtype_of(cameras), *map(_dtype_of, scene.objects.values())}
    return torch.float32 if torch.float32 in dtypes else torch.float64


def _dtype_of(item: Object | Cameras) -> torch.dtype:
    """Return the dtype of an object's vertices in the world, or of cameras in it."""
    if isinstance(item, Cameras):
        return item.cam_from_world.dtype
    return torch.promote_types(item.mesh.vertices.dtype, item.pose.dtype)
