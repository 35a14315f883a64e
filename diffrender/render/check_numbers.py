"""Bring the numbers of a scene and its cameras to one precision, and refuse vertices that are none."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from diffrender.derivatives import constant, without_derivatives
from diffrender.errors import ShapeError
from diffrender.scene.cameras import Cameras
from diffrender.scene.quantity_kinds import map_tensors
from diffrender.scene.scene import Scene


def in_one_precision(scene: Scene, cameras: Cameras) -> tuple[Scene, Cameras]:
    """Return both in float64 if any vertices, poses, scales or cameras are, the background as they are.

    Both themselves where nothing differs.
    """
    placed = [part for item in scene.objects.values() for part in (item.mesh.vertices, item.pose, item.scale)]
    placed += [cameras.cam_from_world, cameras.focal_px, cameras.center_px]
    dtypes = {part.dtype for part in placed}
    if len(dtypes) > 1:

        def widen(tensor: Tensor) -> Tensor:
            return tensor.double() if tensor.is_floating_point() else tensor

        return map_tensors(scene, widen), map_tensors(cameras, widen)
    dtype = placed[0].dtype
    if scene.background.dtype != dtype:
        scene = replace(scene, background=scene.background.to(dtype))
    return scene, cameras


@without_derivatives()
def check_numbers(scene: Scene) -> None:
    """Raise ShapeError if a vertex that a face uses is NaN: its faces would vanish, and it would have no gradient."""
    for name, item in scene.objects.items():
        vertices, faces = constant(item.mesh.vertices), item.mesh.faces
        if bool(vertices.sum().isfinite()) or not bool(vertices.isnan().any()):
            continue
        is_nan = vertices.isnan().any(1)
        used = torch.unique(faces)
        bad = used[is_nan[used]]
        if len(bad):
            raise ShapeError(
                f"render: vertices of object {name!r} must be numbers, got {vertices[bad[0]].tolist()} at index"
                f" {int(bad[0])} ({len(bad)} such vertices); if a step of an optimizer made them so, its loss or"
                " gradient was not finite before"
            )
