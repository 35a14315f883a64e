"""JoinedSurface: the meshes of several objects as one surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from diffrender.derivatives import with_derivatives
from diffrender.geometry.topology import Topology
from diffrender.ops.smooth_normals import smooth_normals
from diffrender.scene.mesh import Mesh


@dataclass(frozen=True, eq=False)
class JoinedSurface:
    """Meshes whose vertices are one where they coincide; what follows from that, computed on first use.

    meshes: with numbers of normals (`normal_faces`) in common, if they have any. vertices_w: [V, 3] of each, in the
    world. backend: implementation of the ops; None: the default of the device.
    """

    meshes: Sequence[Mesh]
    vertices_w: Sequence[Tensor]
    backend: str | None = None

    @cached_property
    def topology(self) -> Topology:
        """The topology of all faces, in the order of the meshes, welded across their borders."""
        first, *others = [mesh.topology for mesh in self.meshes]
        joined = first.join(others, [mesh.n_vertices for mesh in self.meshes])
        return joined.weld(torch.cat(list(self.vertices_w)))

    @cached_property
    def mesh(self) -> Mesh:
        """The whole as one mesh, of vertices and faces only, in the world."""
        used, topology = self.topology.compacted
        return Mesh(torch.cat(list(self.vertices_w)).index_select(0, used), topology.faces, topology=topology)

    @cached_property
    def faces_outward(self) -> Tensor:
        """[] bool; whether the whole is closed and faces outwards."""
        return self.topology.faces_outward(torch.cat(list(self.vertices_w)))

    @cached_property
    def normals_w(self) -> Tensor:
        """[K, 3] unit normals of the meshes that have none given, by their numbers; they keep their gradient."""
        start, faces, numbers, vertices = 0, [], [], []
        for mesh, vertices_w in zip(self.meshes, self.vertices_w, strict=True):
            if mesh.normals is None and mesh.normal_faces is not None:
                faces.append(mesh.faces + start)
                numbers.append(mesh.normal_faces)
                vertices.append(vertices_w)
                start += mesh.n_vertices
        with with_derivatives():
            n_normals = max(mesh.n_normals for mesh in self.meshes)
            return smooth_normals(
                torch.cat(vertices), torch.cat(faces), torch.cat(numbers), n_normals, backend=self.backend
            )
