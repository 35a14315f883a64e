"""Objects that are parts of one surface: normals that run on across the borders that they have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from diffrender.geometry.smoothing_groups import crease_groups
from diffrender.geometry.topology import first_equal_row
from diffrender.scene.joined_surface import JoinedSurface
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene

# Normals that differ by less, in each coordinate, are one.
SAME_NORMAL = 1e-4


def join_parts(objects: Mapping[str, Object], name: str) -> dict[str, Object]:
    """Make objects parts of the surface `name`: at positions in common they share a normal, unless an edge is hard.

    objects: of one pose, each shaded as it should be. Where all have the same crease angle, it holds across borders;
    given normals are shared if they are equal.
    """
    meshes = [item.mesh for item in objects.values()]
    starts = [sum(mesh.n_vertices for mesh in meshes[:i]) for i in range(len(meshes))]
    vertices = torch.cat([mesh.vertices.detach() for mesh in meshes])
    crease = meshes[0].crease_deg
    if crease is not None and all(mesh.crease_deg == crease for mesh in meshes):
        faces = torch.cat([mesh.faces + start for mesh, start in zip(meshes, starts, strict=True)])
        number = crease_groups(vertices, faces, crease).reshape(-1)
    else:
        position = first_equal_row(vertices)
        keys = [_corner_keys(mesh, position[start:], start) for mesh, start in zip(meshes, starts, strict=True)]
        number = torch.unique(torch.cat(keys), dim=0, return_inverse=True)[1]
    n_normals = int(number.max()) + 1
    joined = {}
    by_object = number.reshape(-1, 3).split([mesh.n_faces for mesh in meshes])
    for (key, item), own in zip(objects.items(), by_object, strict=True):
        mesh, normals = item.mesh, None
        if mesh.normals is not None:
            normals = mesh.normals.new_zeros(n_normals, 3)
            normals[own] = mesh.normals[mesh.normal_faces]
        joined[key] = replace(item, mesh=replace(mesh, normal_faces=own, normals=normals), part_of=name)
    return joined


def _corner_keys(mesh: Mesh, position: Tensor, start: int) -> Tensor:
    """Return a row [3 F, 5] per corner; corners with equal rows share a normal. position: [V, ...] of its vertices."""
    keys = mesh.faces.new_zeros(mesh.n_faces, 3, 5)
    keys[..., 0] = position[mesh.faces]
    if mesh.normals is not None:
        keys[..., 1:4] = (mesh.normals.detach()[mesh.normal_faces] / SAME_NORMAL).round().long()
    elif mesh.normal_faces is not None:  # hard edges of unknown origin: they are not compared across borders
        keys[..., 4] = 1 + start + mesh.normal_faces
    return keys.reshape(-1, 5)


def surfaces_of(scene: Scene) -> list[dict[str, Object]]:
    """Return the objects of each surface by their names: those that follow each other and are parts of the same."""
    found: list[dict[str, Object]] = []
    last = None
    for name, item in scene.objects.items():
        if item.part_of is None or item.part_of != last:
            found.append({})
        found[-1][name] = item
        last = item.part_of
    return found


def surface_meshes(scene: Scene) -> dict[str, Mesh]:
    """Return the mesh of each surface in the frame of its objects, by the name of the first of them.

    Parts are one mesh, of vertices and faces only, without borders where they have vertices in common.
    """
    found = {}
    for parts in surfaces_of(scene):
        meshes = [item.mesh for item in parts.values()]
        joined = JoinedSurface(meshes, [mesh.vertices for mesh in meshes])
        found[next(iter(parts))] = meshes[0] if len(meshes) == 1 else joined.mesh
    return found


def with_joined_normals(scene: Scene) -> Scene:
    """Return the scene with the normals of parts of a surface given, for what takes its objects one by one: files."""
    objects = dict(scene.objects)
    for parts in surfaces_of(scene):
        meshes = {name: item.mesh for name, item in parts.items()}
        surface = JoinedSurface(list(meshes.values()), [mesh.vertices for mesh in meshes.values()])
        for name, mesh in meshes.items():
            if len(parts) > 1 and mesh.normals is None and mesh.normal_faces is not None:
                objects[name] = replace(parts[name], mesh=replace(mesh, normals=surface.normals_w))
    return replace(scene, objects=objects)
