"""SceneTriangles: the triangles of all objects of a scene in one list."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.geometry.topology import Topology, join_topologies
from diffrender.scene.scene import Scene
from diffrender.scene.shading_points import VertexFrames


@dataclass(frozen=True)
class SceneTriangles:
    """One triangle list for one raster pass, so that objects occlude each other correctly.

    verts_w: [V, 3] vertices of all objects in the world, one object after the other.
    topology: of all faces [F, 3].
    verts_by_object: world vertices of each object. frames_by_object: normals and tangents of each object.
    first_face: index of each object's first face, then F.
    """

    verts_w: Tensor
    topology: Topology
    verts_by_object: tuple[Tensor, ...]
    frames_by_object: tuple[VertexFrames, ...]
    first_face: tuple[int, ...]


def gather_triangles(scene: Scene) -> SceneTriangles:
    """Gather the triangles of all objects; differentiable in vertices, poses and scales.

    Raises ShapeError for a scene without objects.
    """
    if not scene.objects:
        raise ShapeError("render: the scene has no objects; give it at least one")
    objects = list(scene.objects.values())
    verts = tuple(item.vertices_w() for item in objects)
    frames = tuple(
        VertexFrames(item.mesh, vertices, item.pose[:3, :3]) for vertices, item in zip(verts, objects, strict=True)
    )
    first_face = [0]
    for item in objects:
        first_face.append(first_face[-1] + item.mesh.n_faces)
    if len(objects) == 1:
        return SceneTriangles(verts[0], objects[0].mesh.welded_topology, verts, frames, tuple(first_face))
    topology = join_topologies(
        [item.mesh.welded_topology for item in objects], [item.mesh.n_vertices for item in objects]
    )
    return SceneTriangles(torch.cat(verts), topology, verts, frames, tuple(first_face))
