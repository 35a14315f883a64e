"""Large Steps: vertices preconditioned by a smoothing filter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from diffrender.checks import check_finite
from diffrender.errors import ConfigError, ShapeError
from diffrender.fit.parametrization import Parametrization
from diffrender.geometry.spd_solver import SparseSystem, choose_solver
from diffrender.geometry.umbrella_vectors import laplacian_vectors
from diffrender.ops.differentiable import run_linear
from diffrender.scene.mesh import Mesh


@dataclass(frozen=True)
class LargeSteps(Parametrization):
    """Vertices x [V, 3] of a mesh; the latent is u = (I + lambda L) x with the combinatorial Laplacian L of the mesh.

    A step of the latent acts on the vertices through the inverse, a smoothing filter: gradients at a few vertices, such
    as those of silhouettes, move whole regions, and triangles keep their shape (Nicolet, Jacobson & Jakob, "Large Steps
    in Inverse Rendering of Geometry", 2021, section 4). Vertices at equal positions, as at a seam, are one vertex in L
    and stay together.

    smoothness: lambda, at least 0; its root is about the reach of a gradient at one vertex, in edges. The paper uses
        19, for meshes of about ten thousand vertices; at a few thousand, 4 finds more detail and is as smooth.
    solver: "cholesky", "splu", or "auto" (diffrender.geometry.spd_solver.choose_solver).

    The paper's optimiser is adam_uniform; vector_adam gets further in the same number of steps of few views each.

    Call `bind(mesh)` before use. Raises ConfigError for a lambda that is negative or not finite.
    """

    optimizer: ClassVar[str] = "vector_adam"

    smoothness: float = 4.0
    solver: str = "auto"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.smoothness) and self.smoothness >= 0):
            raise ConfigError(f"large_steps: lambda must be a finite number, at least 0, got {self.smoothness}")

    def bind(self, mesh: Mesh) -> Parametrization:
        """Return the parametrisation of the vertices of `mesh`, with its linear system factorised."""
        return BoundLargeSteps(mesh, self.smoothness, self.solver)

    def value_of(self, latent: Tensor) -> Tensor:
        """Raise ShapeError: there is no mesh."""
        raise ShapeError(_WITHOUT_MESH)

    def latent_of(self, value: Tensor) -> Tensor:
        """Raise ShapeError: there is no mesh."""
        raise ShapeError(_WITHOUT_MESH)


_WITHOUT_MESH = "large_steps: only the vertices of a mesh can have this method; remove `method: large_steps`"


class BoundLargeSteps(Parametrization):
    """LargeSteps bound to one mesh."""

    optimizer: ClassVar[str] = LargeSteps.optimizer

    def __init__(self, mesh: Mesh, smoothness: float, solver: str) -> None:
        self._smoothness = smoothness
        self._n_vertices = mesh.n_vertices
        positions, group = mesh.vertices.detach().unique(dim=0, return_inverse=True)
        self._group = None if len(positions) == mesh.n_vertices else group
        self._n_groups = len(positions)
        self._edges = _weld_edges(mesh.topology.edges, self._group)
        ends = self._edges.reshape(-1)
        self._degree = torch.bincount(ends, minlength=self._n_groups).double()[:, None]
        self._size = torch.bincount(group, minlength=self._n_groups)[:, None]
        self._system = _build_system(self._edges, self._degree[:, 0], smoothness, solver)

    def value_of(self, latent: Tensor) -> Tensor:
        """Return the vertices by one sparse solve; the gradient takes another."""
        # Average over each group of welded vertices, solve, copy back: the transpose of this is as simple.
        welded = latent if self._group is None else self._sum_groups(latent) / self._size
        # The system is symmetric.
        solved: Tensor = run_linear(self._system.solve, self._system.solve, welded)
        return solved if self._group is None else solved.index_select(0, self._group)

    def latent_of(self, value: Tensor) -> Tensor:
        """Return (I + lambda L) times the vertices, computed in float64."""
        if value.shape != (self._n_vertices, 3):
            raise ShapeError(f"large_steps: values must have shape {[self._n_vertices, 3]}, got {list(value.shape)}")
        check_finite("large_steps", "value", value)
        exact = value.detach().double()
        welded = exact if self._group is None else self._sum_groups(exact) / self._size
        # laplacian_vectors is the mean of the neighbours minus the vertex, so L x = -degree * laplacian_vectors.
        latent = welded - self._smoothness * self._degree * laplacian_vectors(welded, self._edges)
        latent = latent.clone() if self._group is None else latent.index_select(0, self._group)
        return latent.to(value.dtype)

    def _sum_groups(self, rows: Tensor) -> Tensor:
        assert self._group is not None
        return rows.new_zeros(self._n_groups, rows.shape[1]).index_add(0, self._group, rows)


def _weld_edges(edges: Tensor, group: Tensor | None) -> Tensor:
    """Return the edges [E, 2] between groups of vertices, each once."""
    if group is None:
        return edges
    joined = group[edges].sort(1).values
    return joined[joined[:, 0] != joined[:, 1]].unique(dim=0)


def _build_system(edges: Tensor, degree: Tensor, smoothness: float, solver: str) -> SparseSystem:
    """Build the system matrix I + smoothness L."""
    diagonal = torch.arange(len(degree), device=edges.device)
    row = torch.cat([diagonal, edges[:, 0], edges[:, 1]])
    column = torch.cat([diagonal, edges[:, 1], edges[:, 0]])
    off_diagonal = degree.new_full((2 * len(edges),), -smoothness)
    return SparseSystem(
        len(degree), row, column, torch.cat([1 + smoothness * degree, off_diagonal]), choose_solver(solver)
    )
