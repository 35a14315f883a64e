"""Split a remeshed surface into the objects that are its parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.fit.remeshing.remesh_object import GIVEN_CREASE_DEG, RemeshedObject
from diffrender.scene.joined_parts import join_parts
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object


class RemeshedPart(NamedTuple):
    """A part of a remeshed surface. vertex: [V] the vertex of the whole that each of `mesh` is."""

    mesh: Mesh
    vertex: Tensor


def split_parts(found: RemeshedObject, items: Mapping[str, Object]) -> dict[str, RemeshedPart]:
    """Return the new mesh of each of `items`, the parts in the order of the labels; of one object it is the whole."""
    if len(items) == 1:
        whole = torch.arange(found.mesh.n_vertices, device=found.mesh.vertices.device)
        return {name: RemeshedPart(found.mesh, whole) for name in items}
    crease = crease_of(items)
    parts = {}
    for label, (name, item) in enumerate(items.items()):
        own, mesh = found.labels == label, found.mesh
        vertex, faces = mesh.faces[own].unique(return_inverse=True)
        uvs = uv_faces = None
        if item.mesh.uvs is not None and mesh.uvs is not None and mesh.uv_faces is not None:
            used, uv_faces = mesh.uv_faces[own].unique(return_inverse=True)
            uvs = mesh.uvs[used]
        parts[name] = RemeshedPart(Mesh(mesh.vertices[vertex], faces, uvs, uv_faces, crease_deg=crease), vertex)
    surface = next(iter(items.values())).part_of
    assert surface is not None
    joined = join_parts({name: replace(items[name], mesh=part.mesh) for name, part in parts.items()}, surface)
    return {name: part._replace(mesh=joined[name].mesh) for name, part in parts.items()}


def crease_of(items: Mapping[str, Object]) -> float | None:
    """Return the angle of hard edges of a surface; None if it is smooth, with one normal at each position.

    Parts share their normals, and so have one angle: the smallest that any of them states.
    """
    meshes = [item.mesh for item in items.values()]
    stated = [mesh.crease_deg for mesh in meshes if mesh.crease_deg is not None]
    if stated:
        return min(stated)
    numbers = [mesh.normal_faces.reshape(-1) for mesh in meshes if mesh.normal_faces is not None]
    if not numbers:
        return None
    # Parts have the numbers of their normals in common.
    normals = torch.cat(numbers)
    positions = torch.cat([mesh.vertices[mesh.faces].reshape(-1, 3) for mesh in meshes])
    return GIVEN_CREASE_DEG if len(normals.unique()) > len(positions.unique(dim=0)) else None
