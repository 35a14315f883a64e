"""Mesh: a triangle mesh with optional texture coordinates."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from diffrender.checks import check_finite, check_float, check_indices_below, check_shape
from diffrender.errors import ShapeError
from diffrender.geometry.topology import Topology


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh in the frame of its object.

    vertices: [V, 3] float32 or float64, in object units.
    faces: [F, 3] int64, corners counter-clockwise seen from outside; `faces[f, c] = v` means that corner c of
        face f is at vertices[v]. Texture coordinates have their own indices, so that vertices can be shared across UV
        seams. Vertices that coincide count as one for silhouettes, each with its own normal and values: a cube of 24
        vertices has hard edges.
    uvs: [T, 2] float texture coordinates as in glTF (u right, v down, 0..1 is the image), or None.
    uv_faces: [F, 3] int64; `uv_faces[f, c] = t` means that corner c of face f has uvs[t]. None exactly if uvs is None.
    topology: derived from faces if omitted; `with_vertices` keeps it.

    Raises ShapeError for a wrong shape or dtype, or an index out of range; `check` also reads the values of vertices.
    """

    vertices: Tensor
    faces: Tensor
    uvs: Tensor | None = None
    uv_faces: Tensor | None = None
    topology: Topology = field(default=None, repr=False, compare=False)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        check_shape("Mesh", "vertices", self.vertices, ("V", 3))
        check_float("Mesh", "vertices", self.vertices)
        check_shape("Mesh", "faces", self.faces, ("F", 3))
        if self.topology is not None and self.topology.faces is self.faces:
            return
        check_indices_below("Mesh", "faces", self.faces, len(self.vertices), "the number of vertices")
        if (self.uvs is None) != (self.uv_faces is None):
            raise ShapeError("Mesh: uvs and uv_faces must be given together, or neither")
        if self.uvs is not None and self.uv_faces is not None:
            check_shape("Mesh", "uvs", self.uvs, ("T", 2))
            check_shape("Mesh", "uv_faces", self.uv_faces, (len(self.faces), 3))
            check_indices_below("Mesh", "uv_faces", self.uv_faces, len(self.uvs), "the number of uvs")
        object.__setattr__(self, "topology", Topology(self.faces))

    @property
    def n_vertices(self) -> int:
        """The number of vertices, V."""
        return len(self.vertices)

    @property
    def n_faces(self) -> int:
        """The number of faces, F."""
        return len(self.faces)

    @cached_property
    def welded_topology(self) -> Topology:
        """The topology in which vertices that coincide are one, whatever their other values (`Topology.weld`)."""
        return self.topology.weld(self.vertices)

    @property
    def is_outward(self) -> bool:
        """Whether the surface is closed and faces outwards, so that its back is never seen (`Topology.is_outward`)."""
        return self.welded_topology.is_outward(self.vertices)

    def with_vertices(self, vertices: Tensor) -> Mesh:
        """Return the mesh with other vertices, as many: [V, 3]; topology is kept, indices are not rechecked."""
        check_shape("Mesh.with_vertices", "vertices", vertices, (self.n_vertices, 3))
        return replace(self, vertices=vertices)

    def bounds(self) -> Tensor:
        """Return the [2, 3] lowest and highest corners of the axis-aligned bounding box."""
        return torch.stack([self.vertices.min(0).values, self.vertices.max(0).values])

    def check(self, function: str = "Mesh") -> Mesh:
        """Return the mesh. Raises ShapeError if it has no faces or a vertex that is not finite (reads every vertex)."""
        if self.n_faces == 0:
            raise ShapeError(f"{function}: the mesh has no faces; give one with at least one triangle")
        check_finite(function, "vertices", self.vertices)
        return self
