"""A mesh remeshed, with everything that its vertices and corners carry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.geometry.remesh.remesh import Edits, RemeshOptions, remesh
from diffrender.scene.mesh import Mesh

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
