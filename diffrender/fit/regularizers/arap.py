"""ARAP: as-rigid-as-possible deformation of the initial mesh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.errors import ConfigError
from diffrender.fit.deterministic_reduce import deterministic_sum
from diffrender.fit.objective import Regularizer
from diffrender.fit.regularizers.regularizer_units import SHORTEST
from diffrender.geometry.cotangents import cotangent_weights
from diffrender.geometry.rotations import nearest_rotations
from diffrender.scene.joined_parts import surface_meshes
from diffrender.scene.mesh import Mesh
from diffrender.scene.scene import Scene


@dataclass(frozen=True)
class Arap(Regularizer):
    """As-rigid-as-possible energy: squared differences of edges from the initial ones, rotated with their vertex.

    In squared initial edge lengths, weighted by cotangents: 0.01 is a stretch by a tenth, for a mesh of any size and
    any number of triangles. Summed over the surfaces.
    Source: O. Sorkine, M. Alexa, "As-rigid-as-possible surface modeling" (2007), equations 3 to 6. The best rotations
    are recomputed at every step and carry no gradient: at the optimum their change does not affect the energy.
    """

    def bind(self, start: Scene) -> Regularizer:
        """Return the regulariser that compares with the meshes of `start`."""
        return _ArapTo({name: _Rest.of(mesh) for name, mesh in surface_meshes(start).items()})

    def __call__(self, scene: Scene) -> Tensor:
        """Raise ConfigError: without a start there is nothing to compare with."""
        raise ConfigError("loss.arap: compares with the start of a fit; call bind(start) first")


@dataclass(frozen=True)
class _Rest:
    """The rest state of one mesh: directed edges [2E, 2], their vectors [2E, 3], weights [2E], the energy's unit []."""

    mesh: Mesh
    edges: Tensor
    vectors: Tensor
    weights: Tensor
    unit: Tensor

    @staticmethod
    def of(mesh: Mesh) -> _Rest:
        vertices = mesh.vertices.detach()
        edges = torch.cat([mesh.topology.edges, mesh.topology.edges.flip(1)])
        vectors = _vectors(vertices, edges)
        # Obtuse triangles have negative cotangents, with which the energy would have no lower bound.
        weights = cotangent_weights(vertices, mesh.topology).clamp_min(0).repeat(2)
        unit = deterministic_sum(weights * vectors.square().sum(1)).clamp_min(SHORTEST**2)
        return _Rest(mesh, edges, vectors, weights, unit)


@dataclass(frozen=True)
class _ArapTo(Regularizer):
    rest: Mapping[str, _Rest]

    def __call__(self, scene: Scene) -> Tensor:
        energies = [_energy(name, self.rest[name], mesh) for name, mesh in surface_meshes(scene).items()]
        return sum(energies, scene.background.new_zeros(()))


def _energy(name: str, rest: _Rest, mesh: Mesh) -> Tensor:
    start = rest.mesh
    if mesh.faces is not start.faces and not torch.equal(mesh.faces, start.faces):
        raise ConfigError(
            f"loss.arap: the triangles of {name} are no longer those of the start ({start.n_faces} then, {mesh.n_faces}"
            " now), but `arap` compares vertex by vertex; remove `arap`, or what changes the triangles"
        )
    now = _vectors(mesh.vertices, rest.edges)
    with torch.no_grad():
        products = rest.weights[:, None, None] * now[:, :, None] * rest.vectors[:, None, :]
        covariance = now.new_zeros(mesh.n_vertices, 3, 3).index_add(0, rest.edges[:, 0], products)
        rotated = nearest_rotations(covariance).index_select(0, rest.edges[:, 0]) @ rest.vectors[:, :, None]
    return deterministic_sum(rest.weights * (now - rotated[:, :, 0]).square().sum(1)) / rest.unit


def _vectors(vertices: Tensor, edges: Tensor) -> Tensor:
    ends = vertices.index_select(0, edges.reshape(-1)).reshape(-1, 2, 3)
    return ends[:, 1] - ends[:, 0]
