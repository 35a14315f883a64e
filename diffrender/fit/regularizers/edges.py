"""Edges of a mesh as vectors."""

from __future__ import annotations

from torch import Tensor

from diffrender.scene.mesh import Mesh

# Lengths are never divided by less than this (object units), so that a mesh shrunk to a point gives zeros, not NaN.
SHORTEST = 1e-12


def edge_vectors(mesh: Mesh) -> Tensor:
    """[E, 3] from the first vertex of each edge to the second; differentiable in the vertices."""
    # index_select, because the gradient of vertices[edges] adds in the order in which threads arrive.
    ends = mesh.vertices.index_select(0, mesh.topology.edges.reshape(-1)).reshape(-1, 2, 3)
    return ends[:, 1] - ends[:, 0]
