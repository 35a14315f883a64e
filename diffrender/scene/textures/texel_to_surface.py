"""TexelMap: the point of a mesh that each texel of its texture shows."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.ops.barycentrics import barycentrics
from diffrender.ops.rasterize import rasterize
from diffrender.scene.mesh import Mesh


class TexelMap(NamedTuple):
    """The texels of an H x W texture whose centres are on the mesh.

    covered: [H, W] bool; K of them are true.
    face_id: [K] int64 the face of each covered texel, row by row; the lowest where faces overlap.
    bary: [K, 3] barycentric coordinates on it.
    """

    covered: Tensor
    face_id: Tensor
    bary: Tensor

    def values(self, per_vertex: Tensor, faces: Tensor) -> Tensor:
        """Interpolate `per_vertex` [V, C] at the covered texels, by the corners faces [F, 3]: [K, C]."""
        return (per_vertex[faces[self.face_id]] * self.bary[:, :, None]).sum(1)


def texel_map(mesh: Mesh, height: int, width: int, *, backend: str | None = None) -> TexelMap:
    """Rasterize the charts of `mesh` into a texture of height x width texels; without gradient.

    Faces outside 0..1 are moved into it by whole repeats; a face that crosses the border is cut there.
    Raises ShapeError if the mesh has no texture coordinates.
    """
    with torch.no_grad():
        seen, flat, faces = _rasterize_charts(mesh, height, width, backend)
        covered = seen >= 0
        row, column = torch.nonzero(covered, as_tuple=True)
        centers = torch.stack([column, row], 1).to(flat.dtype) + 0.5
        face_id = seen[covered]
        bary = barycentrics(flat, faces, torch.zeros_like(face_id), face_id, centers, backend=backend)
    return TexelMap(covered, face_id, bary)


def covered_texels(mesh: Mesh, height: int, width: int, *, backend: str | None = None) -> Tensor:
    """Return `covered` of `texel_map` alone."""
    with torch.no_grad():
        return _rasterize_charts(mesh, height, width, backend)[0] >= 0


def _rasterize_charts(mesh: Mesh, height: int, width: int, backend: str | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return the face at each texel [H, W], -1 for none, and the corners and faces that were drawn."""
    if mesh.uvs is None or mesh.uv_faces is None:
        raise ShapeError("texel_map: the mesh has no texture coordinates; unwrap it first")
    corners = mesh.uvs.detach()[mesh.uv_faces]
    corners = corners - corners.mean(1, keepdim=True).floor()
    position = corners.reshape(1, -1, 2) * corners.new_tensor([width, height])
    flat = torch.cat([position, torch.ones_like(position)], 2)
    faces = torch.arange(flat.shape[1], device=flat.device).reshape(-1, 3)
    return rasterize(flat, faces, height, width, near=0.0, backend=backend).face_id[0, :, :, 0], flat, faces
