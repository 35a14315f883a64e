"""Edge length uniformity."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.fit.deterministic_reduce import deterministic_mean
from diffrender.fit.objective import Regularizer
from diffrender.fit.regularizers.regularizer_units import SHORTEST, edge_vectors
from diffrender.scene.joined_parts import surface_meshes
from diffrender.scene.mesh import Mesh
from diffrender.scene.scene import Scene


@dataclass(frozen=True)
class EdgeLength(Regularizer):
    """Variance of the edge lengths over their squared mean: favours triangles of equal size without shrinking the mesh.

    Summed over the surfaces.
    """

    def __call__(self, scene: Scene) -> Tensor:
        """Return [], zero if all edges have the same length."""
        return sum(map(_unevenness, surface_meshes(scene).values()), scene.background.new_zeros(()))


def _unevenness(mesh: Mesh) -> Tensor:
    length = torch.linalg.vector_norm(edge_vectors(mesh), dim=1)
    return deterministic_mean((length / deterministic_mean(length).clamp_min(SHORTEST) - 1).square())
