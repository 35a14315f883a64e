"""Bilaplacian smoothness: umbrella vectors near the mean of their neighbours' umbrella vectors."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diffrender.fit.deterministic_reduce import deterministic_mean
from diffrender.fit.objective import Regularizer
from diffrender.fit.regularizers.regularizer_units import mean_squared_edge
from diffrender.geometry.umbrella_vectors import laplacian_vectors
from diffrender.scene.joined_parts import surface_meshes
from diffrender.scene.mesh import Mesh
from diffrender.scene.scene import Scene


@dataclass(frozen=True)
class Bilaplacian(Regularizer):
    """Mean squared umbrella vector of the umbrella vectors, in mean squared edge lengths.

    Noise costs about as much as in `Laplacian`; smooth bulges, whose curvature hardly changes from one vertex to the
    next, cost almost nothing, so it contracts a mesh far less. Roughness is relative to the mesh's own edges: the same
    noise in edge lengths costs the same at any number of triangles, and a smooth shape always costs little. Summed over
    the surfaces.
    Source: L. Kobbelt et al., "Interactive multi-resolution modeling on arbitrary meshes" (1998), section 4.
    """

    def __call__(self, scene: Scene) -> Tensor:
        """Return [], zero for a mesh that is one point or a regular flat grid without border."""
        return sum(map(_roughness, surface_meshes(scene).values()), scene.background.new_zeros(()))


def _roughness(mesh: Mesh) -> Tensor:
    edges = mesh.topology.edges
    offset = laplacian_vectors(laplacian_vectors(mesh.vertices, edges), edges)
    return deterministic_mean(offset.square().sum(1)) / mean_squared_edge(mesh)
