"""Laplacian smoothness: vertices near the mean of their neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.fit.deterministic_reduce import deterministic_mean
from diffrender.fit.objective import Regularizer
from diffrender.fit.regularizers.regularizer_units import USUAL_FACES, mean_squared_edge
from diffrender.geometry.umbrella_vectors import laplacian_vectors
from diffrender.ops.smooth_normals import smooth_normals
from diffrender.scene.joined_parts import surface_meshes
from diffrender.scene.mesh import Mesh
from diffrender.scene.scene import Scene


@dataclass(frozen=True)
class Laplacian(Regularizer):
    """Mean squared distance of the vertices from the mean of their neighbours, in mean squared edge lengths.

    Along the surface this is the unevenness of the triangles, whatever their number. Along the normal it is curvature,
    which falls with their number and is rescaled to that of a mesh of 5,120 triangles, so that a weight means the same
    for a mesh of any size and any number of triangles. Units and normals carry no gradient, so like any Laplacian the
    term contracts a mesh that no other term constrains. Summed over the surfaces.
    """

    def __call__(self, scene: Scene) -> Tensor:
        """Return [], zero for a mesh that is one point or a regular flat grid without border."""
        return sum(map(_roughness, surface_meshes(scene).values()), scene.background.new_zeros(()))


def _roughness(mesh: Mesh) -> Tensor:
    curvature, unevenness = curvature_and_unevenness(mesh)
    return deterministic_mean(curvature + unevenness)


def curvature_and_unevenness(mesh: Mesh) -> tuple[Tensor, Tensor]:
    """Return the two parts of each vertex's term, along its normal [V] and along the surface [V]."""
    # In object space: pose and scale would cancel.
    offset = laplacian_vectors(mesh.vertices, mesh.topology.edges)
    with torch.no_grad():
        normal = smooth_normals(mesh.vertices, mesh.faces, mesh.faces, mesh.n_vertices)
    along_normal = (offset * normal).sum(1)
    unevenness = (offset - along_normal[:, None] * normal).square().sum(1)
    unit = mean_squared_edge(mesh)
    return along_normal.square() * (mesh.n_faces / USUAL_FACES) / unit, unevenness / unit
