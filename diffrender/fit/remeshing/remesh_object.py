"""Remesh or subdivide a mesh and resample its vertex and corner attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.geometry.remesh.remesh import RemeshOptions, remesh
from diffrender.geometry.subdivide import subdivide_loop
from diffrender.geometry.weld_corners import weld_corners
from diffrender.scene.mesh import Mesh

# Sharp edges are remeshed as all others, since they move during a fit; only boundaries and seams are features.
OPTIONS = RemeshOptions(features_deg=None)
# Hard edges of a file are found again on a remeshed surface by this angle.
GIVEN_CREASE_DEG = 30.0
# While there are too many faces, more passes follow, up to MOST_PASSES; one that hardly helps makes lengths longer.
MOST_PASSES, COARSER, HELPS = 16, 1.2, 0.95


class RemeshedObject(NamedTuple):
    """A remeshed mesh with its attributes.

    mesh: vertices, faces, and texture coordinates if there were any.
    rows: the given rows, resampled to the new vertices.
    lengths: [V] the target length at each new vertex.
    labels: [F] int64, those of the faces that the new ones come from; None if none were given.
    """

    mesh: Mesh
    rows: dict[str, Tensor]
    lengths: Tensor
    labels: Tensor | None


@torch.no_grad()
def remesh_with_attributes(
    mesh: Mesh,
    rows: Mapping[str, Tensor],
    lengths: Tensor,
    passes: int,
    most_faces: int | None = None,
    labels: Tensor | None = None,
) -> RemeshedObject:
    """Remesh `mesh` to the target edge lengths `lengths` [V] and resample its attributes.

    rows: other vertex attributes, each [V, C] float, interpolated like the position.
    most_faces: the result has more only if the mesh has and cannot be made coarser; None: as the lengths say.
    labels: [F] int64 of the faces; lines between faces with other labels stay in place as seams do.
    Raises MeshError for a mesh that is not manifold.
    """
    device = mesh.vertices.device
    width = [tensor.shape[1] for tensor in rows.values()]
    columns = torch.cat([tensor.detach().double() for tensor in rows.values()], 1) if rows else None
    corners = _corners(mesh, labels)
    found = remesh(
        mesh.vertices.detach().cpu(),
        mesh.faces.cpu(),
        lengths.detach().cpu(),
        None if columns is None else columns.cpu(),
        None if corners is None else corners.cpu(),
        passes=passes,
        options=replace(OPTIONS, split_up_to=most_faces),
    )
    factor, longer = 1.0, 1.0
    for _ in range(MOST_PASSES):
        before = len(found.faces)
        if most_faces is None or before <= most_faces:
            break
        factor *= longer
        found = remesh(
            found.vertices,
            found.faces,
            found.target_length * longer,
            found.attributes,
            found.corner_attributes,
            options=replace(OPTIONS, split_up_to=most_faces),
        )
        longer = COARSER if len(found.faces) > HELPS * before else 1.0
    parts = found.attributes.split(width, 1) if rows else ()
    new_rows = {name: part.to(rows[name]) for (name, part) in zip(rows, parts, strict=True)}
    corners = None if found.corner_attributes is None else found.corner_attributes.to(device)
    new_mesh = _mesh_like(mesh, found.vertices.to(device), found.faces.to(device), corners)
    new_labels = None if labels is None else _labels_of(corners)
    return RemeshedObject(new_mesh, new_rows, (found.target_length / factor).to(device), new_labels)


@torch.no_grad()
def subdivide_with_attributes(
    mesh: Mesh, rows: Mapping[str, Tensor], lengths: Tensor, labels: Tensor | None = None
) -> RemeshedObject:
    """Make four faces of each by Loop's scheme; arguments as of `remesh_with_attributes`, `lengths` stay."""
    width = [tensor.shape[1] for tensor in rows.values()]
    columns = torch.cat([lengths[:, None].double(), *(tensor.detach().double() for tensor in rows.values())], 1)
    found = subdivide_loop(mesh.vertices, mesh.faces, columns, _corners(mesh, labels))
    lengths_there, *parts = found.attributes.split([1, *width], 1)
    new_rows = {name: part.to(rows[name]) for (name, part) in zip(rows, parts, strict=True)}
    return RemeshedObject(
        _mesh_like(mesh, found.vertices, found.faces, found.corner_attributes),
        new_rows,
        lengths_there[:, 0].to(lengths),
        None if labels is None else _labels_of(found.corner_attributes),
    )


def _corners(mesh: Mesh, labels: Tensor | None) -> Tensor | None:
    """Return the values at corners [F, 3, ...]: texture coordinates, then labels; None if there are neither.

    Labels stay exact: where the values of a face's corners are equal, their means are as well.
    """
    columns = [] if mesh.uvs is None or mesh.uv_faces is None else [mesh.uvs[mesh.uv_faces].detach()]
    if labels is not None:
        columns.append(labels.to(mesh.vertices.dtype)[:, None, None].expand(-1, 3, 1))
    return torch.cat(columns, 2) if columns else None


def _labels_of(corners: Tensor | None) -> Tensor:
    assert corners is not None
    return corners[:, 0, -1].long()


def _mesh_like(mesh: Mesh, vertices: Tensor, faces: Tensor, corners: Tensor | None) -> Mesh:
    """Return a mesh with the texture coordinates at `corners`, if there are any, and edges as hard as in `mesh`."""
    uvs = uv_faces = None
    if mesh.uvs is not None and corners is not None:
        uvs, uv_faces = weld_corners(faces.cpu(), corners[..., :2].to(vertices.dtype).cpu())
        uvs, uv_faces = uvs.to(vertices), uv_faces.to(faces)
    new_mesh = Mesh(vertices, faces, uvs, uv_faces)
    if mesh.normal_faces is not None:
        new_mesh = new_mesh.with_crease(GIVEN_CREASE_DEG if mesh.crease_deg is None else mesh.crease_deg)
    return new_mesh
