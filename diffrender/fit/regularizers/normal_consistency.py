"""Normal consistency: adjacent faces with similar normals."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.fit.deterministic_reduce import deterministic_mean
from diffrender.fit.objective import Regularizer
from diffrender.fit.regularizers.regularizer_units import SHORTEST, USUAL_FACES, mean_squared_radius
from diffrender.geometry.normals import face_normals
from diffrender.scene.joined_parts import surface_meshes
from diffrender.scene.mesh import Mesh
from diffrender.scene.scene import Scene

# The normals of faces below this share of the mean area are damped: a tiny move could turn them by any angle, with a
# gradient as large as 1 / length.
SLIVER = 1e-4


@dataclass(frozen=True)
class NormalConsistency(Regularizer):
    """Mean of 1 - cos of the angle between the normals of faces that share an edge, times F / 5,120.

    The angles of a smooth shape fall with the number F of triangles; rescaled to a mesh of 5,120 triangles, a weight
    means the same for any number. Summed over the surfaces.
    """

    def __call__(self, scene: Scene) -> Tensor:
        """Return [], zero for a flat mesh."""
        return sum(map(_bending, surface_meshes(scene).values()), scene.background.new_zeros(()))


def _bending(mesh: Mesh) -> Tensor:
    # In radii of the mesh: fourth powers of its edges exceed the range of float32 in small or large units.
    normal = face_normals(mesh.vertices / mean_squared_radius(mesh).sqrt(), mesh.faces)
    length_squared = normal.square().sum(1, keepdim=True)
    typical_squared = deterministic_mean(length_squared.detach())
    smallest_squared = (SLIVER**2 * typical_squared).clamp_min(SHORTEST**2)
    unit = normal * torch.rsqrt(length_squared + smallest_squared)
    sides = unit.index_select(0, mesh.topology.edge_pairs.reshape(-1)).reshape(-1, 2, 3)
    # 1 - cos = |a - b|^2 / 2 for unit vectors, and this form is exactly zero at equality.
    return deterministic_mean((sides[:, 1] - sides[:, 0]).square().sum(1)) / 2 * (mesh.n_faces / USUAL_FACES)
