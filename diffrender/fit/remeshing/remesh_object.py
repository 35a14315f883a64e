"""A mesh remeshed, with everything that its vertices and corners carry."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffrender.geometry.remesh.remesh import Edits, RemeshOptions, remesh
from diffrender.scene.material import SurfaceValue
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.textures.texture import Texture

# Sharp edges move during a fit as all others do; only boundaries and seams stay what they are.
OPTIONS = RemeshOptions(features_deg=None)


class RemeshedObject(NamedTuple):
    """A remeshed mesh.

    mesh: vertices, faces, and texture coordinates where there were some.
    rows: the rows that were given, one a new vertex.
    lengths: [V] the target length at each new vertex.
    edits: what the remesher did.
    """

    mesh: Mesh
    rows: dict[str, Tensor]
    lengths: Tensor
    edits: Edits


@torch.no_grad()
def remesh_with_attributes(mesh: Mesh, rows: Mapping[str, Tensor], lengths: Tensor, passes: int) -> RemeshedObject:
    """`mesh` in triangles with edges about as long as `lengths` [V] say.

    rows: whatever else stands at the vertices, each [V, C] float, interpolated as the position is.
    Raises MeshError for a mesh that is not manifold.
    """
    device = mesh.vertices.device
    width = [tensor.shape[1] for tensor in rows.values()]
    columns = torch.cat([tensor.detach().double() for tensor in rows.values()], 1) if rows else None
    corners = None if mesh.uvs is None or mesh.uv_faces is None else mesh.uvs[mesh.uv_faces].detach().cpu()
    found = remesh(
        mesh.vertices.detach().cpu(),
        mesh.faces.cpu(),
        lengths.detach().cpu(),
        None if columns is None else columns.cpu(),
        corners,
        passes=passes,
        options=OPTIONS,
    )
    uvs = uv_faces = None
    if found.corner_attributes is not None:
        # Corners with the same coordinates are one again.
        uvs, uv_faces = found.corner_attributes.reshape(-1, 2).unique(dim=0, return_inverse=True)
        uvs, uv_faces = uvs.to(device), uv_faces.reshape(-1, 3).to(device)
    parts = found.attributes.split(width, 1) if rows else ()
    new_rows = {name: part.to(rows[name]) for (name, part) in zip(rows, parts, strict=True)}
    new_mesh = Mesh(found.vertices.to(device), found.faces.to(device), uvs, uv_faces)
    return RemeshedObject(new_mesh, new_rows, found.target_length.to(device), found.edits)


def vertex_fields(item: Object) -> dict[str, Tensor]:
    """The values of an object's material that have one row a vertex, by the name of the field."""
    n_vertices = item.mesh.n_vertices
    return {
        name: value
        for name, value in _fields(item).items()
        if isinstance(value, Tensor) and value.dim() == 2 and len(value) == n_vertices
    }


def texture_fields(item: Object) -> dict[str, Texture]:
    """The textures of an object's material, by the name of the field."""
    return {name: value for name, value in _fields(item).items() if isinstance(value, Texture)}


def with_mesh_and_fields(item: Object, mesh: Mesh, fields: Mapping[str, SurfaceValue]) -> Object:
    """`item` with another mesh, and with other values of its material."""
    material = dataclasses.replace(item.material, **fields)  # type: ignore[type-var]
    return dataclasses.replace(item, mesh=mesh, material=material)


def _fields(item: Object) -> dict[str, Any]:
    fields = dataclasses.fields(item.material)  # type: ignore[arg-type]  # every material is a dataclass
    return {field.name: getattr(item.material, field.name) for field in fields}
