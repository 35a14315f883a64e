"""Comparison of two meshes: the distance between their surfaces, and a report on each."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from diffrender.checks import check_number, check_type
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

LENGTHS = (("RMS distance", "rms"), ("mean distance", "mean"), ("95th percentile", "p95"), ("largest distance", "max"))


@dataclass(frozen=True)
class MeshComparison:
    """The comparison of two meshes; lengths are in the meshes' unit.

    first, second: the report on each mesh.
    distance: between the two surfaces; `there` is from the first to the second.
    vertex_rms: distance between the vertices of each mesh and the surface of the other, as in `vertex_distance`.
    diagonal: of the bounding box of the second mesh, the unit of relative lengths.
    """

    first: MeshReport
    second: MeshReport
    distance: SurfaceDistance
    vertex_rms: float
    diagonal: float

    def as_json(self) -> dict[str, Any]:
        """Return all numbers by name; `relative`: the symmetric lengths divided by the diagonal."""
        relative = {key: getattr(self.distance, key) / self.diagonal for _, key in LENGTHS}
        relative["vertex_rms"] = self.vertex_rms / self.diagonal
        return asdict(self) | {"relative": relative}


def compare_meshes(first: Mesh, second: Mesh, n_samples: int = SAMPLES, seed: int = 0) -> MeshComparison:
    """Measure the distance between two meshes from `n_samples` points spread over each, and check each mesh.

    first, second: in the same frame, no alignment is done; the second is the reference.
    Raises ShapeError for n_samples < 1, and for a mesh without faces, without area or with a non-finite vertex.
    """
    for name, mesh in (("first", first), ("second", second)):
        check_type("compare_meshes", name, mesh, Mesh)
    check_number("compare_meshes", "n_samples", n_samples, whole=True)
    check_number("compare_meshes", "seed", seed, whole=True)
    triangles = [Triangles(mesh.vertices, mesh.faces) for mesh in (first, second)]
    one, other = (SurfaceQuery(mesh) for mesh in triangles)
    low, high = second.vertices[second.faces.unique()].double().aminmax(dim=0)
    return MeshComparison(
        first=check_mesh(triangles[0]),
        second=check_mesh(triangles[1]),
        distance=surface_distance(one, other, n_samples, seed),
        vertex_rms=vertex_distance(one, other),
        diagonal=float((high - low).norm()),
    )
