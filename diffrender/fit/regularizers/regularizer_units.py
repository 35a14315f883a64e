"""Edge vectors of a mesh, and the units of regularisers."""

from __future__ import annotations

import torch
from torch import Tensor

from diffrender.fit.deterministic_reduce import deterministic_mean
from diffrender.scene.mesh import Mesh

# Lower bound of lengths in denominators (object units), so that a mesh shrunk to a point gives zeros, not NaN.
SHORTEST = 1e-12
# Bending in units of the mesh's own edges falls with the number of triangles; it is rescaled to that of a mesh of this
# many triangles (an icosphere of 4 subdivisions), so that a weight suits a mesh of any number of triangles.
USUAL_FACES = 5120


def edge_vectors(mesh: Mesh) -> Tensor:
    """Return [E, 3], from the first vertex of each edge to the second; differentiable in the vertices."""
    # index_select, because the gradient of vertices[edges] is accumulated in an order that depends on threads.
    ends = mesh.vertices.index_select(0, mesh.topology.edges.reshape(-1)).reshape(-1, 2, 3)
    return ends[:, 1] - ends[:, 0]


def mean_squared_edge(mesh: Mesh) -> Tensor:
    """Return the mean squared edge length [], without a gradient, above zero."""
    with torch.no_grad():
        return deterministic_mean(edge_vectors(mesh).square().sum(1)).clamp_min(SHORTEST**2)


def mean_squared_radius(mesh: Mesh) -> Tensor:
    """Return the mean squared distance [] of the vertices from their centroid, without a gradient, above zero."""
    with torch.no_grad():
        return mesh.vertices.var(0, correction=0).sum().clamp_min(SHORTEST**2)
