"""Shading: the AOVs of an image's samples, by the object that each sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from diffrender.render.aovs import AOV
from diffrender.render.scene_triangles import SceneTriangles
from diffrender.render.shadow_maps import with_shadows
from diffrender.scene.cameras import Cameras
from diffrender.scene.material import Material
from diffrender.scene.scene import Scene
from diffrender.scene.shading_points import ScreenPoints, ShadingPoints
from diffrender.scene.textures.interleave import pack_textures


def prepare(scene: Scene, geometry: SceneTriangles, cameras: Cameras, backend: str | None) -> Scene:
    """Return `scene` with all shared data precomputed: shadow maps, prefiltered environments, mip levels."""
    objects = {
        name: replace(item, material=pack_textures(item.material, backend)) for name, item in scene.objects.items()
    }
    lights = {name: with_shadows(light.prepared(), geometry, cameras, backend) for name, light in scene.lights.items()}
    return replace(scene, objects=objects, lights=lights)


def shade(
    scene: Scene,
    geometry: SceneTriangles,
    cameras: Cameras,
    aovs: Sequence[AOV],
    face_id: Tensor,
    where: Tensor | ScreenPoints,
    view: Tensor,
    backend: str | None,
) -> Tensor:
    """Return the `aovs` of M points, one after the other: [M, C]; each object is shaded with its own material.

    face_id: [M] int64 index of each point's face in the scene's triangle list. view: [M] int64 the camera that sees it.
    where: [M, 3] barycentric coordinates, or the points' image points.
    """
    lights = list(scene.lights.values())

    def values_of(surface: ShadingPoints, material: Material) -> Tensor:
        values = [aov.of(surface, material, lights) for aov in aovs]
        return values[0] if len(values) == 1 else torch.cat(values, 1)

    result = None
    for index, item in enumerate(scene.objects.values()):
        first, end = geometry.first_face[index], geometry.first_face[index + 1]
        vertices_w, frames = geometry.verts_by_object[index], geometry.frames_by_object[index]
        if len(scene.objects) == 1:
            surface = ShadingPoints(item.mesh, vertices_w, face_id, where, view, cameras, backend, frames)
            return values_of(surface, item.material)
        mine = torch.nonzero((face_id >= first) & (face_id < end))[:, 0]
        part = where.select(mine) if isinstance(where, ScreenPoints) else where[mine]
        surface = ShadingPoints(
            item.mesh, vertices_w, face_id[mine] - first, part, view[mine], cameras, backend, frames
        )
        if result is None:
            result = vertices_w.new_zeros(len(face_id), sum(aov.channels for aov in aovs))
        result = result.index_copy(0, mine, values_of(surface, item.material))
    assert result is not None  # gather_triangles raises for a scene without objects
    return result
