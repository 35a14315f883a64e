"""Meshes as files want them: one index a corner, for place and texture coordinate together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from diffrender.geometry.normals import vertex_normals
from diffrender.scene.mesh import Mesh

FALLBACK_NORMAL = (0.0, 1.0, 0.0)


@dataclass(frozen=True)
class CornerMesh:
    """A mesh whose vertices are split along UV seams; vertices that no face uses are left out.

    positions, normals: [P, 3] float32; a seam's copies share one smooth normal.
    uvs: [P, 2] float32 or None.
    faces: [F, 3] uint32; faces that use a vertex twice are left out.
    source: [P] int64; `source[p] = v` means that p is a copy of vertices[v] of the mesh.
    """

    positions: np.ndarray
    normals: np.ndarray
    uvs: np.ndarray | None
    faces: np.ndarray
    source: np.ndarray


def corner_mesh(mesh: Mesh) -> CornerMesh:
    """Split `mesh` along its UV seams. Raises: ShapeError where it is empty or has a non-finite vertex."""
    mesh.check("corner_mesh")
    vertices = mesh.vertices.detach().to("cpu", torch.float32)
    faces = mesh.faces.cpu()
    normals = vertex_normals(vertices.double(), faces).float().numpy()
    # Without a direction (its faces cancel or have no area) a normal must still be a unit vector in a file.
    normals[np.linalg.norm(normals, axis=1) < 0.5] = FALLBACK_NORMAL
    kept = ((faces != faces.roll(1, 1)).all(1)).numpy()
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
    return CornerMesh(
        vertices.numpy()[source], normals[source], uvs, faces_out.reshape(-1, 3).astype(np.uint32), source
    )
