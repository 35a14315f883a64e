"""Meshes with one index per corner, for position and texture coordinate together, as glTF needs them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.geometry.normals import group_normals
from diffrender.geometry.tangents import corner_groups, group_tangents
from diffrender.scene.mesh import Mesh

FALLBACK_NORMAL = (0.0, 1.0, 0.0)


@dataclass(frozen=True)
class SplitMesh:
    """A mesh whose vertices are split along UV seams; vertices that no face uses are omitted.

    positions, normals: [P, 3] float32; copies share one normal unless the mesh has several at a vertex.
    uvs: [P, 2] float32 or None.
    faces: [F, 3] uint32; faces that use a vertex twice are omitted.
    source: [P] int64; `source[p] = v` means that p is a copy of vertices[v] of the mesh.
    tangents: [P, 4] float32 or None: the unit direction in which u grows, and the sign that turns
        cross(normal, tangent) up in the texture's image.
    """

    positions: np.ndarray
    normals: np.ndarray
    uvs: np.ndarray | None
    faces: np.ndarray
    source: np.ndarray
    tangents: np.ndarray | None = None


def split_vertices(mesh: Mesh, with_tangents: bool = False) -> SplitMesh:
    """Split `mesh` along its UV seams and hard edges and, with tangents, also where the texture is mirrored.

    Raises ShapeError if it is empty, has a non-finite vertex, or has no uvs for tangents.
    """
    mesh.check("split_vertices")
    vertices = mesh.vertices.detach().to("cpu", torch.float32)
    faces = mesh.faces.cpu()
    normal_faces = faces if mesh.normal_faces is None else mesh.normal_faces.cpu()
    if mesh.normals is None:
        normals = group_normals(vertices.double(), faces, normal_faces, mesh.n_normals).float().numpy()
    else:
        normals = mesh.normals.detach().to("cpu", torch.float32).numpy().copy()
    # A normal without direction (its faces cancel or have no area) must still be a unit vector in a file.
    normals[np.linalg.norm(normals, axis=1) < 0.5] = FALLBACK_NORMAL
    kept = (faces != faces.roll(1, 1)).all(1)
    # A node is a vertex with one of its normals.
    pairs, nodes = torch.unique(faces[kept] * max(1, len(normals)) + normal_faces[kept], return_inverse=True)
    vertex, normal = (pairs // max(1, len(normals))).numpy(), normals[(pairs % max(1, len(normals))).numpy()]
    if with_tangents:
        return _with_tangents(mesh, vertices[torch.from_numpy(vertex)], nodes, normal, vertex, kept)
    corners = nodes.numpy().reshape(-1)
    if mesh.uvs is None or mesh.uv_faces is None:
        source, faces_out = np.unique(corners, return_inverse=True)
        uvs = None
    else:
        uv_corners = mesh.uv_faces.cpu()[kept].numpy().reshape(-1)
        n_uvs = len(mesh.uvs)
        both, faces_out = np.unique(corners * n_uvs + uv_corners, return_inverse=True)
        source = both // n_uvs
        uvs = mesh.uvs.detach().to("cpu", torch.float32).numpy()[both % n_uvs]
    source, normal = vertex[source], normal[source]
    return SplitMesh(vertices.numpy()[source], normal, uvs, faces_out.reshape(-1, 3).astype(np.uint32), source)


def _with_tangents(
    mesh: Mesh, vertices: Tensor, faces: Tensor, normals: np.ndarray, vertex: np.ndarray, kept: Tensor
) -> SplitMesh:
    """Split nodes at `vertices` [P, 3] with their normals [P, 3], joined by `faces`; vertex: [P] those of the mesh."""
    if mesh.uvs is None or mesh.uv_faces is None:
        raise ShapeError("split_vertices: tangents need a mesh with uvs, but this one has none")
    uvs, uv_faces = mesh.uvs.detach().to("cpu", torch.float32), mesh.uv_faces.cpu()[kept]
    group, source, handedness = corner_groups(faces, uvs, uv_faces)
    vertex_normals_64 = torch.from_numpy(normals).double()
    found = group_tangents(vertices.double(), faces, vertex_normals_64, uvs.double(), uv_faces, group, len(source))
    normal = vertex_normals_64[source]
    # If no face determines it: anything perpendicular to the normal.
    helper = torch.zeros_like(normal).scatter_(1, normal.abs().argmin(1, keepdim=True), 1.0)
    instead = torch.nn.functional.normalize(torch.linalg.cross(helper, normal), dim=1)
    tangents = torch.where(found.norm(dim=1, keepdim=True) > 0.5, found, instead)
    uv_of = torch.zeros(len(source), dtype=torch.int64)
    uv_of[group.reshape(-1)] = uv_faces.reshape(-1)
    return SplitMesh(
        vertices[source].numpy(),
        normals[source.numpy()],
        uvs[uv_of].numpy(),
        group.numpy().astype(np.uint32),
        vertex[source.numpy()],
        torch.cat([tangents, handedness[:, None].double()], 1).float().numpy(),
    )
