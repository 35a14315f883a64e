"""Two meshes side by side: how far apart their surfaces are, and what each is like."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from diffrender.geometry.distances import (
    SAMPLES,
    SurfaceDistance,
    SurfaceQuery,
    surface_distance,
    vertex_distance,
)
from diffrender.geometry.mesh_checks import MeshReport, check_mesh
from diffrender.geometry.primitives import Triangles
from diffrender.scene.mesh import Mesh

LENGTHS = (("RMS distance", "rms"), ("mean distance", "mean"), ("95 % are within", "p95"), ("largest distance", "max"))


@dataclass(frozen=True)
class MeshComparison:
    """Two meshes side by side; lengths are in the meshes' unit.

    first, second: what each mesh is like.
    distance: of the two surfaces; `there` is from the first to the second.
    vertex_rms: distances of the vertices of each to the other, as in `vertex_distance`.
    diagonal: of the box around the second mesh, for lengths that do not depend on the unit.
    """

    first: MeshReport
    second: MeshReport
    distance: SurfaceDistance
    vertex_rms: float
    diagonal: float

    def as_json(self) -> dict[str, Any]:
        """All numbers by name; `relative`: the lengths of both ways as shares of the diagonal."""
        relative = {key: getattr(self.distance, key) / self.diagonal for _, key in LENGTHS}
        relative["vertex_rms"] = self.vertex_rms / self.diagonal
        return asdict(self) | {"relative": relative}


def compare_meshes(first: Mesh, second: Mesh, n_samples: int = SAMPLES, seed: int = 0) -> MeshComparison:
    """How far two meshes are apart, from `n_samples` points spread over each, and what is found in each.

    first, second: in one frame; the second is the one that the other is measured by. Nothing is aligned.
    Raises ShapeError for n_samples < 1, and for a mesh without faces, without area or with a non-finite vertex.
    """
    triangles = [Triangles(mesh.vertices, mesh.faces) for mesh in (first, second)]
    one, other = (SurfaceQuery(each) for each in triangles)
    low, high = second.vertices[second.faces.unique()].double().aminmax(dim=0)
    return MeshComparison(
        first=check_mesh(triangles[0]),
        second=check_mesh(triangles[1]),
        distance=surface_distance(one, other, n_samples, seed),
        vertex_rms=vertex_distance(one, other),
        diagonal=float((high - low).norm()),
    )
