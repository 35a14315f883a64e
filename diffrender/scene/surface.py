"""Surface: points of one object that the image's samples see."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.geometry.normals import face_normals, vertex_normals
from diffrender.ops.attributes import attributes
from diffrender.ops.barycentrics import barycentrics
from diffrender.ops.interpolate import interpolate
from diffrender.ops.uv_footprint import uv_footprint
from diffrender.scene.cameras import Cameras
from diffrender.scene.mesh import Mesh
from diffrender.scene.texture import Texture


@dataclass(frozen=True)
class Seen:
    """Where in the image M points of a surface are seen; tells their barycentric coordinates when asked.

    verts_hom: [N, V, 4] homogeneous pixel coordinates of the whole scene, faces: [F, 3] its faces.
    face_id: [M] int64 into these faces. view: [M] int64. place_px: [M, 2].
    backend: implementation of the ops, None for the device's own.
    """

    verts_hom: Tensor
    faces: Tensor
    face_id: Tensor
    view: Tensor
    place_px: Tensor
    backend: str | None = None

    def select(self, index: Tensor) -> Seen:
        """The points at `index`."""
        return replace(self, face_id=self.face_id[index], view=self.view[index], place_px=self.place_px[index])

    @cached_property
    def bary(self) -> Tensor:
        """[M, 3] perspective-correct barycentric coordinates."""
        return barycentrics(self.verts_hom, self.faces, self.view, self.face_id, self.place_px, backend=self.backend)

    def value(self, value: Tensor, faces: Tensor, face_id: Tensor) -> Tensor:
        """[M, C] of what the vertices have; faces and face_id as in `Surface`."""
        return attributes(
            value, faces, face_id, self.verts_hom, self.faces, self.face_id, self.view, self.place_px,
            backend=self.backend,
        )  # fmt: skip


@dataclass(frozen=True)
class Surface:
    """M points on one object; whatever a material or a light asks of them is interpolated then and kept.

    mesh: the object's mesh.
    vertices_w: [V, 3] its vertices in the world.
    face_id: [M] int64; `face_id[m] = f` means that point m lies on mesh.faces[f].
    where: [M, 3] perspective-correct barycentric coordinates, sum 1; or where in the image the points are seen.
    view: [M] int64 camera that sees the point.
    cameras: N cameras.
    backend: implementation of the ops, None for the device's own.
    """

    mesh: Mesh
    vertices_w: Tensor
    face_id: Tensor
    where: Tensor | Seen
    view: Tensor
    cameras: Cameras
    backend: str | None = None

    def __len__(self) -> int:
        return len(self.face_id)

    def value(self, value: Tensor | Texture) -> Tensor:
        """[M, C] (or [1, C] where uniform) of a quantity that is uniform [C], per vertex [V, C] or a Texture."""
        if isinstance(value, Texture):
            return value.sample(self.uv, self.uv_footprint, backend=self.backend)
        if value.dim() == 1:
            return value[None, :]
        if len(value) != self.mesh.n_vertices:
            raise ShapeError(
                f"Surface.value: a per-vertex value must have one row a vertex ({self.mesh.n_vertices}), "
                f"got {list(value.shape)}"
            )
        return self._interpolated(value, self.mesh.faces)

    @property
    def bary(self) -> Tensor:
        """[M, 3] barycentric coordinates."""
        return self.where.bary if isinstance(self.where, Seen) else self.where

    def _interpolated(self, value: Tensor, faces: Tensor) -> Tensor:
        if isinstance(self.where, Seen):
            return self.where.value(value, faces, self.face_id)
        return interpolate(value, faces, self.face_id, self.where, backend=self.backend)

    @cached_property
    def uv(self) -> Tensor:
        """[M, 2] texture coordinates."""
        if self.mesh.uvs is None or self.mesh.uv_faces is None:
            raise ShapeError("Surface.uv: a texture needs a mesh with texture coordinates; this one has none")
        return self._interpolated(self.mesh.uvs, self.mesh.uv_faces)

    @cached_property
    def uv_footprint(self) -> Tensor:
        """[M, 2, 2] derivatives of the texture coordinates by the place in the image (x, y) in pixels."""
        if self.mesh.uvs is None or self.mesh.uv_faces is None:
            raise ShapeError("Surface.uv_footprint: the mesh has no texture coordinates")
        return uv_footprint(
            self.cameras.project(self.vertices_w),
            self.mesh.faces,
            self.mesh.uvs,
            self.mesh.uv_faces,
            self.view,
            self.face_id,
            self.bary,
            backend=self.backend,
        )

    @cached_property
    def position_w(self) -> Tensor:
        """[M, 3] places in the world."""
        return self.value(self.vertices_w)

    @cached_property
    def normal_w(self) -> Tensor:
        """[M, 3] unit smooth normals; where a back face is seen (open meshes), turned towards the camera."""
        normals = self.value(vertex_normals(self.vertices_w, self.mesh.faces))
        if not self.mesh.topology.is_closed:
            normals = normals * self._facing[:, None]
        return torch.nn.functional.normalize(normals, dim=1)

    @cached_property
    def depth(self) -> Tensor:
        """[M] camera depth: distance from the camera's plane, in world units."""
        forward = self.cameras.cam_from_world[:, 2, :].index_select(0, self.view)
        return (forward[:, :3] * self.position_w).sum(1) + forward[:, 3]

    @cached_property
    def to_camera_w(self) -> Tensor:
        """[M, 3] unit directions towards the camera."""
        return self.cameras.directions_to_w(self.position_w, self.view)

    @cached_property
    def _facing(self) -> Tensor:
        """[M] 1 where the front of the face is seen, -1 where the back is."""
        # Detached, not under no_grad: the values asked for here are kept, and others want their gradients.
        normals = face_normals(self.vertices_w.detach(), self.mesh.faces)[self.face_id]
        seen_from = (normals * self.to_camera_w.detach()).sum(1)
        return torch.where(seen_from < 0, -1.0, 1.0).to(normals.dtype)
