"""JoinedVertices: the learned vertices of objects that are parts of one surface, as those of one mesh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.geometry.topology import first_equal_row
from diffrender.scene.joined_parts import surfaces_of
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.parameter_paths import ParameterPath
from diffrender.scene.scene import Scene


@dataclass(frozen=True, eq=False)
class JoinedVertices:
    """The learned parts of a surface as one mesh.

    mesh: their faces, with vertices in common where they coincide; with texture coordinates if any part has some.
    index: by path, [V] the vertex of `mesh` of each vertex of that part. n_faces: of each part, in the order of `mesh`.
    held: [H] vertices of `mesh` that parts which are not learned have as well, and stay.
    """

    mesh: Mesh
    index: Mapping[str, Tensor]
    n_faces: tuple[int, ...]
    held: Tensor

    @property
    def part_of_face(self) -> Tensor:
        """[F] int64: the number of the part that each face of the mesh is of."""
        counts = torch.tensor(self.n_faces, device=self.mesh.faces.device)
        return torch.arange(len(counts), device=counts.device).repeat_interleave(counts)

    def split(self, vertices: Tensor) -> dict[str, Tensor]:
        """Return the vertices of each part by path, from those of the mesh; differentiable."""
        if len(self.held):
            vertices = vertices.index_copy(0, self.held, self.mesh.vertices[self.held])
        return {path: vertices.index_select(0, index) for path, index in self.index.items()}


def join_vertices(scene: Scene, paths: Sequence[str]) -> list[JoinedVertices]:
    """Return the surfaces with several parts, of which some have learned vertices, at the given paths."""
    joined = []
    for parts in surfaces_of(scene):
        learned = {path: item for name, item in parts.items() if (path := str(ParameterPath.vertices(name))) in paths}
        if len(parts) > 1 and learned:
            fixed = [item for name, item in parts.items() if str(ParameterPath.vertices(name)) not in learned]
            joined.append(_join(learned, fixed))
    return joined


def _join(learned: Mapping[str, Object], fixed: Sequence[Object]) -> JoinedVertices:
    vertices = torch.cat([item.mesh.vertices.detach() for item in (*learned.values(), *fixed)])
    first = first_equal_row(vertices)
    sizes = [item.mesh.n_vertices for item in learned.values()]
    n_learned = sum(sizes)
    # Rows of learned parts come first, so that the first of equal rows is one of them if any is.
    used, number = first[:n_learned].unique(return_inverse=True)
    index = dict(zip(learned, number.split(sizes), strict=True))
    faces = torch.cat([index[path][item.mesh.faces] for path, item in learned.items()])
    meshes = [item.mesh for item in learned.values()]
    n_faces = tuple(mesh.n_faces for mesh in meshes)
    shared = first[n_learned:].unique()
    held = torch.searchsorted(used, shared[shared < n_learned])
    return JoinedVertices(Mesh(vertices[used], faces, *_join_uvs(meshes)), index, n_faces, held)


def _join_uvs(meshes: Sequence[Mesh]) -> tuple[Tensor | None, Tensor | None]:
    """Return texture coordinates and their faces, of all meshes; a mesh without any has one for all its corners."""
    if all(mesh.uvs is None for mesh in meshes):
        return None, None
    uvs, uv_faces, start = [], [], 0
    for mesh in meshes:
        own = mesh.vertices.new_zeros(1, 2) if mesh.uvs is None else mesh.uvs
        uv_faces.append(start + (torch.zeros_like(mesh.faces) if mesh.uv_faces is None else mesh.uv_faces))
        uvs.append(own)
        start += len(own)
    return torch.cat(uvs), torch.cat(uv_faces)
