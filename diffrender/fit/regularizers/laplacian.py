"""Smoothness: vertices near the mean of their neighbours."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diffrender.fit.objective import Regularizer
from diffrender.fit.reduction import steady_mean
from diffrender.fit.regularizers.edges import SHORTEST, edge_vectors
from diffrender.geometry.laplacian import laplacian_vectors
from diffrender.scene.mesh import Mesh
from diffrender.scene.scene import Scene


@dataclass(frozen=True)
class Laplacian(Regularizer):
    """Mean squared distance of the vertices from the mean of their neighbours, in mean squared edge lengths.

    The unit makes a weight mean the same for a mesh of any size and any number of triangles. It carries no gradient,
    so the term still contracts a mesh that nothing holds, as a Laplacian does. Summed over the objects.
    """

    def __call__(self, scene: Scene) -> Tensor:
        """[] zero for a mesh that is one point or a regular flat grid without border."""
        return sum((_roughness(item.mesh) for item in scene.objects.values()), scene.background.new_zeros(()))


def _roughness(mesh: Mesh) -> Tensor:
    # Measured in the object's frame: pose and scale would cancel.
    offset = laplacian_vectors(mesh.vertices, mesh.topology.edges)
    unit_squared = steady_mean(edge_vectors(mesh.with_vertices(mesh.vertices.detach())).square().sum(1))
    return steady_mean(offset.square().sum(1)) / unit_squared.clamp_min(SHORTEST**2)
