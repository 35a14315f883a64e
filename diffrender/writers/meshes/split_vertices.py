"""Meshes with one index per corner, for position and texture coordinate together, as glTF needs them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.geometry.normals import vertex_normals
from diffrender.geometry.tangents import corner_groups, group_tangents
from diffrender.scene.mesh import Mesh

FALLBACK_NORMAL = (0.0, 1.0, 0.0)


@dataclass(frozen=True)
class SplitMesh:
    """A mesh whose vertices are split along UV seams; vertices that no face uses are omitted.

    positions, normals: [P, 3] float32; a seam's copies share one smooth normal.
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
    """Split `mesh` along its UV seams and, with tangents, also where the texture is mirrored.

    Raises ShapeError if it is empty, has a non-finite vertex, or has no uvs for tangents.
    """
    mesh.check("split_vertices")
    vertices = mesh.vertices.detach().to("cpu", torch.float32)
    faces = mesh.faces.cpu()
    normals = vertex_normals(vertices.double(), faces).float().numpy()
    # A normal without direction (its faces cancel or have no area) must still be a unit vector in a file.
    normals[np.linalg.norm(normals, axis=1) < 0.5] = FALLBACK_NORMAL
    kept = ((faces != faces.roll(1, 1)).all(1)).numpy()
    if with_tangents:
        return _with_tangents(mesh, vertices, faces[torch.from_numpy(kept)], normals, kept)
    corners = faces.numpy()[kept].reshape(-1)
    if mesh.uvs is None or mesh.uv_faces is None:
        source, faces_out = np.unique(corners, return_inverse=True)
        uvs = None
    else:
        uv_corners = mesh.uv_faces.cpu().numpy()[kept].reshape(-1)
        n_uvs = len(mesh.uvs)
        pairs, faces_out = np.unique(corners * n_uvs + uv_corners, return_inverse=True)
        source = pairs // n_uvs
        uvs = mesh.uvs.detach().to("cpu", torch.float32).numpy()[pairs % n_uvs]
    return SplitMesh(vertices.numpy()[source], normals[source], uvs, faces_out.reshape(-1, 3).astype(np.uint32), source)


def _with_tangents(mesh: Mesh, vertices: Tensor, faces: Tensor, normals: np.ndarray, kept: np.ndarray) -> SplitMesh:
    if mesh.uvs is None or mesh.uv_faces is None:
        raise ShapeError("split_vertices: tangents need a mesh with uvs, but this one has none")
    uvs, uv_faces = mesh.uvs.detach().to("cpu", torch.float32), mesh.uv_faces.cpu()[torch.from_numpy(kept)]
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
        source.numpy(),
        torch.cat([tangents, handedness[:, None].double()], 1).float().numpy(),
    )
