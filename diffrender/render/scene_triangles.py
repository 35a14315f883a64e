"""SceneTriangles: the triangles of all objects of a scene in one list."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.geometry.topology import Topology, join_topologies
from diffrender.scene.joined_parts import surfaces_of
from diffrender.scene.joined_surface import JoinedSurface
from diffrender.scene.scene import Scene
from diffrender.scene.shading_points import VertexFrames


@dataclass(frozen=True)
class SceneTriangles:
    """One triangle list for one raster pass, so that objects occlude each other correctly.

    verts_w: [V, 3] vertices of all objects in the world, one object after the other.
    topology: of all faces [F, 3].
    verts_by_object: world vertices of each object. frames_by_object: normals and tangents of each object.
    first_face: index of each object's first face, then F. surfaces: the topology of each surface, and how many objects
    it consists of, in order (`Object.part_of`).
    """

    verts_w: Tensor
    topology: Topology
    verts_by_object: tuple[Tensor, ...]
    frames_by_object: tuple[VertexFrames, ...]
    first_face: tuple[int, ...]
    surfaces: tuple[tuple[Topology, int], ...]


def gather_triangles(scene: Scene, backend: str | None = None) -> SceneTriangles:
    """Gather the triangles of all objects; differentiable in vertices, poses and scales.

    Raises ShapeError for a scene without objects.
    """
    if not scene.objects:
        raise ShapeError("render: the scene has no objects; give it at least one")
    objects = list(scene.objects.values())
    verts = tuple(item.vertices_w(backend) for item in objects)
    frames: list[VertexFrames] = []
    surfaces: list[tuple[Topology, int]] = []
    for parts in surfaces_of(scene):
        start, end = len(frames), len(frames) + len(parts)
        meshes = [item.mesh for item in parts.values()]
        joined = JoinedSurface(meshes, verts[start:end], backend) if len(parts) > 1 else None
        surfaces.append((meshes[0].welded_topology if joined is None else joined.topology, len(parts)))
        for vertices, item in zip(verts[start:end], parts.values(), strict=True):
            frames.append(VertexFrames(item.mesh, vertices, item.pose[:3, :3], joined, backend))
    first_face = [0]
    for item in objects:
        first_face.append(first_face[-1] + item.mesh.n_faces)
    topologies = [topology for topology, _ in surfaces]
    counts = iter([item.mesh.n_vertices for item in objects])
    n_vertices = [sum(islice(counts, n_parts)) for _, n_parts in surfaces]
    topology = topologies[0] if len(topologies) == 1 else join_topologies(topologies, n_vertices)
    verts_w = verts[0] if len(verts) == 1 else torch.cat(verts)
    return SceneTriangles(verts_w, topology, verts, tuple(frames), tuple(first_face), tuple(surfaces))
