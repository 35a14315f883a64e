"""Mirror symmetry of a surface."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.errors import ConfigError
from diffrender.fit.deterministic_reduce import deterministic_mean
from diffrender.fit.objective import Regularizer
from diffrender.fit.regularizers.regularizer_units import mean_squared_radius
from diffrender.geometry.distances import SurfaceQuery
from diffrender.geometry.primitives import Triangles
from diffrender.scene.joined_parts import surface_meshes
from diffrender.scene.mesh import Mesh
from diffrender.scene.scene import Scene


@dataclass(frozen=True)
class Symmetry(Regularizer):
    """Mean squared distance of the mirrored vertices from the surface, in mean squared radii of the mesh.

    normal: of the mirror plane, of any length but zero; point: a point on the plane; both in object space.
    Vertices need no mirror partners, so any triangulation works. The unit carries no gradient.
    Summed over the surfaces.
    """

    normal: tuple[float, float, float] = (1.0, 0.0, 0.0)
    point: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if not any(self.normal):
            raise ConfigError("loss.symmetry: the normal of the plane must not be [0, 0, 0]")

    def __call__(self, scene: Scene) -> Tensor:
        """Return [], zero for a surface that is its own mirror image."""
        return sum(map(self._asymmetry, surface_meshes(scene).values()), scene.background.new_zeros(()))

    def _asymmetry(self, mesh: Mesh) -> Tensor:
        vertices = mesh.vertices
        normal = torch.nn.functional.normalize(vertices.new_tensor(self.normal), dim=0)
        height = ((vertices - vertices.new_tensor(self.point)) * normal).sum(1, keepdim=True)
        mirrored = vertices - 2 * height * normal
        if not mesh.n_faces or not bool(torch.isfinite(mirrored).all()):
            return mirrored.sum() * 0  # NaN propagates, and the fit reports it
        corners, bary = _find_closest(mesh, mirrored.detach())
        # To first order, motion of the closest point along the surface costs nothing, so its barycentrics are constant.
        nearest = (vertices.index_select(0, corners.reshape(-1)).reshape(-1, 3, 3) * bary[:, :, None]).sum(1)
        return deterministic_mean((mirrored - nearest).square().sum(1)) / mean_squared_radius(mesh)


def _find_closest(mesh: Mesh, points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the corners [P, 3] of the triangle closest to each of `points` [P, 3], and its barycentrics [P, 3]."""
    found = SurfaceQuery(Triangles(mesh.vertices.detach(), mesh.faces)).closest(points)
    corners = mesh.faces.index_select(0, found.face.to(mesh.faces.device))
    a, b, c = mesh.vertices.detach().double()[corners].unbind(1)
    # p = a + s (b - a) + t (c - a): two equations, from the dot products of both sides with b - a and c - a.
    ab, ac, ap = b - a, c - a, found.points.to(a.device) - a
    bb, cc, bc = (ab * ab).sum(1), (ac * ac).sum(1), (ab * ac).sum(1)
    pb, pc = (ap * ab).sum(1), (ap * ac).sum(1)
    determinant = bb * cc - bc * bc
    is_regular = determinant > 1e-12 * bb * cc
    safe = determinant.where(is_regular, torch.ones_like(determinant))
    s, t = (cc * pb - bc * pc) / safe, (bb * pc - bc * pb) / safe
    bary = torch.stack([1 - s - t, s, t], 1)
    third = torch.full_like(bary, 1 / 3)
    return corners, bary.where(is_regular[:, None], third).to(mesh.vertices.dtype)
