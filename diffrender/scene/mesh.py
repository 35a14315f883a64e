"""Mesh: a triangle mesh with optional texture coordinates."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from diffrender.checks import (
    check_finite,
    check_float,
    check_index,
    check_indices_below,
    check_number,
    check_shape,
    check_type,
)
from diffrender.derivatives import constant
from diffrender.errors import ShapeError
from diffrender.geometry.orientation import find_turned
from diffrender.geometry.smoothing_groups import crease_groups
from diffrender.geometry.topology import Topology
from diffrender.list_sizes import is_kept


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh in the frame of its object.

    vertices: [V, 3] float32 or float64, in object units.
    faces: [F, 3] int64, corners counter-clockwise seen from outside; `faces[f, c] = v` means that corner c of
        face f is at vertices[v]. `oriented` turns faces that face another way than their neighbours. Texture
        coordinates have their own indices, so that vertices can be shared across UV seams. Vertices that coincide count
        as one for silhouettes, each with its own normal and values: a cube of 24 vertices has hard edges.
    uvs: [T, 2] float texture coordinates as in glTF (u right, v down, 0..1 is the image), or None.
    uv_faces: [F, 3] int64; `uv_faces[f, c] = t` means that corner c of face f has uvs[t]. None exactly if uvs is None.
    normal_faces: [F, 3] int64; corners with the same number share one normal (geometry.smoothing_groups). None: those
        of one vertex do, which is smooth shading.
    normals: [K, 3] unit normals by these numbers, for the vertices as they are; None: they follow from the faces.
        `with_vertices` drops them and keeps the numbers.
    crease_deg: the angle that normal_faces were made with, to make them again for other faces; None: they were given.
    topology: derived from faces if omitted; `with_vertices` keeps it.

    Raises ShapeError for a wrong shape or dtype, or an index out of range; `check` also reads the values of vertices.
    """

    vertices: Tensor
    faces: Tensor
    uvs: Tensor | None = None
    uv_faces: Tensor | None = None
    normal_faces: Tensor | None = None
    normals: Tensor | None = None
    crease_deg: float | None = None
    topology: Topology = field(default=None, repr=False, compare=False)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        check_shape("Mesh", "vertices", self.vertices, ("V", 3))
        check_float("Mesh", "vertices", self.vertices)
        check_shape("Mesh", "faces", self.faces, ("F", 3))
        if (self.uvs is None) != (self.uv_faces is None):
            raise ShapeError("Mesh: uvs and uv_faces must be given together, or neither")
        if self.uvs is not None and self.uv_faces is not None:
            check_shape("Mesh", "uvs", self.uvs, ("T", 2))
            check_float("Mesh", "uvs", self.uvs)
            check_shape("Mesh", "uv_faces", self.uv_faces, (len(self.faces), 3))
        self._check_normals()
        if self.topology is not None:
            check_type("Mesh", "topology", self.topology, Topology)
        if self.topology is not None and self.topology.faces is self.faces:
            return
        for name in ("faces", "uv_faces", "normal_faces"):  # what is known of them outlives a transformation
            if getattr(self, name) is not None:
                object.__setattr__(self, name, constant(getattr(self, name)))
        check_indices_below("Mesh", "faces", self.faces, len(self.vertices), "the number of vertices")
        if self.uvs is not None and self.uv_faces is not None:
            check_indices_below("Mesh", "uv_faces", self.uv_faces, len(self.uvs), "the number of uvs")
        numbers = None if is_kept() else self.normal_faces
        if numbers is not None and numbers.numel() and int(numbers.min()) < 0:
            raise ShapeError(f"Mesh: normal_faces must be at least 0, got {int(numbers.min())}")
        object.__setattr__(self, "topology", Topology.of(self.faces))

    def _check_normals(self) -> None:
        if self.crease_deg is not None:
            check_number("Mesh", "crease_deg", self.crease_deg)
        if self.normal_faces is not None:
            check_shape("Mesh", "normal_faces", self.normal_faces, (len(self.faces), 3))
            check_index("Mesh", "normal_faces", self.normal_faces)
        if self.normals is not None:
            check_shape("Mesh", "normals", self.normals, ("K", 3))
            check_float("Mesh", "normals", self.normals)
            if self.normal_faces is None:
                raise ShapeError("Mesh: normals need normal_faces, which say the normal of each corner")
            check_indices_below("Mesh", "normal_faces", self.normal_faces, len(self.normals), "the number of normals")

    @property
    def n_vertices(self) -> int:
        """The number of vertices, V."""
        return len(self.vertices)

    @property
    def n_faces(self) -> int:
        """The number of faces, F."""
        return len(self.faces)

    @property
    def welded_topology(self) -> Topology:
        """The topology in which vertices that coincide now are one, whatever their other values (`Topology.weld`)."""
        return self.topology.weld(self.vertices)

    @property
    def faces_outward(self) -> Tensor:
        """[] bool; whether the surface is closed and faces outwards, so that its back is never seen."""
        return self.welded_topology.faces_outward(self.vertices)

    def with_vertices(self, vertices: Tensor) -> Mesh:
        """Return the mesh with other vertices, as many: [V, 3]; topology is kept, indices are not rechecked."""
        check_shape("Mesh.with_vertices", "vertices", vertices, (self.n_vertices, 3))
        return replace(self, vertices=vertices, normals=None)

    def in_float32(self) -> Mesh:
        """Return the mesh with vertices and normals in float32; the normals are kept."""
        return replace(
            self, vertices=self.vertices.float(), normals=None if self.normals is None else self.normals.float()
        )

    def with_crease(self, crease_deg: float | None) -> Mesh:
        """Return the mesh with normals that are smooth across edges up to an angle in degrees; None: across all.

        0 is flat shading. Normals that were given are dropped.
        """
        groups = None if crease_deg is None else crease_groups(self.vertices, self.faces, crease_deg)
        return replace(self, normal_faces=groups, normals=None, crease_deg=crease_deg)

    def find_turned(self) -> Tensor:
        """Return [F] bool: the faces that face another way than most of their surface (geometry.orientation)."""
        topology = self.welded_topology
        if topology.is_turned is None:
            return torch.zeros(self.n_faces, dtype=torch.bool, device=self.faces.device)
        return find_turned(constant(self.vertices), topology.welded_faces)

    def oriented(self) -> Mesh:
        """Return the mesh with all faces of a surface facing the way that most of them do: itself if they do.

        Faces of arrays from other programs may be turned against their neighbours; those of files are turned by their
        readers. Given normals are kept.
        """
        turned = self.find_turned()[:, None]
        if not bool(turned.any()):
            return self
        indices = {name: getattr(self, name) for name in ("faces", "uv_faces", "normal_faces")}
        flipped = {name: torch.where(turned, each.flip(1), each) for name, each in indices.items() if each is not None}
        mesh = replace(self, **flipped, topology=None)
        return mesh if self.crease_deg is None or self.normals is not None else mesh.with_crease(self.crease_deg)

    @cached_property
    def n_normals(self) -> int:
        """The number of normals, K; that of vertices if corners of one vertex share a normal."""
        if self.normal_faces is None or not self.normal_faces.numel():
            return self.n_vertices
        return int(self.normal_faces.max()) + 1 if self.normals is None else len(self.normals)

    def bounds(self) -> Tensor:
        """Return the [2, 3] lowest and highest corners of the axis-aligned bounding box."""
        return torch.stack([self.vertices.min(0).values, self.vertices.max(0).values])

    def check(self, function: str = "Mesh") -> Mesh:
        """Return the mesh. Raises ShapeError if it has no faces or a vertex that is not finite (reads every vertex)."""
        if self.n_faces == 0:
            raise ShapeError(f"{function}: the mesh has no faces; give one with at least one triangle")
        check_finite(function, "vertices", self.vertices)
        return self
