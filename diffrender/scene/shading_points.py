"""ShadingPoints: the points of one object that the samples of an image see."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from diffrender.derivatives import constant, on_plain_tensors, with_derivatives
from diffrender.errors import ShapeError
from diffrender.geometry.normals import face_normals
from diffrender.geometry.tangents import corner_groups, group_tangents
from diffrender.list_sizes import has_sizes
from diffrender.ops.barycentrics import barycentrics
from diffrender.ops.interpolate import interpolate
from diffrender.ops.interpolate_at_pixels import interpolate_at_pixels
from diffrender.ops.normalize import normalize
from diffrender.ops.screen_uvs import screen_uvs
from diffrender.ops.smooth_normals import smooth_normals
from diffrender.scene.cameras import Cameras
from diffrender.scene.joined_surface import JoinedSurface
from diffrender.scene.mesh import Mesh
from diffrender.scene.textures.interleave import PackedTexture
from diffrender.scene.textures.texture import Texture


@dataclass(frozen=True, eq=False)
class VertexFrames:
    """Normals and tangents of an object's vertices in the world, computed on first use and cached.

    Cached values keep their gradient, even if their first use is under no_grad.

    mesh: the object's mesh. vertices_w: [V, 3] its vertices in the world.
    rotation: [3, 3] world_from_object, for normals that the mesh itself has; None: the identity.
    joined: the surface that it is a part of, if other objects are as well.
    backend: implementation of the ops; None: the default of the device.
    """

    mesh: Mesh
    vertices_w: Tensor
    rotation: Tensor | None = None
    joined: JoinedSurface | None = None
    backend: str | None = None

    @cached_property
    def faces_outward(self) -> Tensor:
        """[] bool; whether the surface is closed and faces outwards, so that its back is never seen from outside."""
        return self.mesh.faces_outward if self.joined is None else self.joined.faces_outward

    @cached_property
    def _box_w(self) -> Tensor:
        """[8, 3] the corners of the box around the surface."""
        parts = [self.vertices_w] if self.joined is None else self.joined.vertices_w
        ends = torch.cat([torch.stack(constant(part).aminmax(dim=0)) for part in parts if len(part)])
        return torch.cartesian_prod(*torch.stack(ends.aminmax(dim=0), 1))

    @on_plain_tensors()
    def shows_backs(self, cameras: Cameras) -> Tensor:
        """Return whether backs of faces may be seen [] bool: unless the surface is outward and cameras are outside.

        A camera is outside if its near plane misses the surface's box; a surface cut open shows backs too.
        """
        topology = self.mesh.welded_topology if self.joined is None else self.joined.topology
        if not topology.is_closed:
            return torch.ones((), dtype=torch.bool, device=self.vertices_w.device)
        forward = constant(cameras.cam_from_world)[:, 2].to(self.vertices_w.dtype)
        is_drawn = forward[:, :3] @ self._box_w.T + forward[:, 3:] > cameras.near
        return ~self.faces_outward | (is_drawn.any(1) & ~is_drawn.all(1)).any()

    @property
    def normal_faces(self) -> Tensor:
        """[F, 3] int64: the normal of each corner among `normals_w`."""
        return self.mesh.faces if self.mesh.normal_faces is None else self.mesh.normal_faces

    @cached_property
    def normals_w(self) -> Tensor:
        """[K, 3] unit normals."""
        mesh = self.mesh
        with with_derivatives():
            if mesh.normals is None and mesh.normal_faces is not None and self.joined is not None:
                return self.joined.normals_w
            if mesh.normals is not None:
                return mesh.normals if self.rotation is None else (mesh.normals[:, None] * self.rotation).sum(-1)
            return smooth_normals(self.vertices_w, mesh.faces, self.normal_faces, mesh.n_normals, backend=self.backend)

    @cached_property
    def tangents_w(self) -> tuple[Tensor, Tensor]:
        """(group [F, 3] int64, tangents [G, 4]): the tangents of a face's corners are tangents[group].

        A tangent is a unit vector and its handedness: +1, or -1 if the texture is mirrored. Raises ShapeError for a
        mesh without texture coordinates.
        """
        faces, uvs, uv_faces = self.mesh.faces, self.mesh.uvs, self.mesh.uv_faces
        if uvs is None or uv_faces is None:
            raise ShapeError("ShadingPoints: a normal map needs a mesh with texture coordinates; this one has none")
        with with_derivatives():
            numbers, normals = self.normal_faces, self.normals_w
            group, found, handedness = corner_groups(numbers, uvs, uv_faces)
            tangents = group_tangents(self.vertices_w, faces, normals, uvs, uv_faces, group, len(found), numbers)
            return group, torch.cat([tangents, handedness[:, None].to(tangents.dtype)], 1)


@dataclass(frozen=True)
class ScreenPoints:
    """M points of a surface by their image points; barycentric coordinates are computed on demand.

    verts_hom: [N, V, 4] homogeneous pixel coordinates of the whole scene. faces: [F, 3] int64, its faces.
    face_id: [M] int64; `face_id[m] = f` means that point m is on faces[f]. view: [M] int64 the camera that sees it.
    xy_px: [M, 2] its image point in pixels.
    backend: implementation of the ops; None: the default of the device.
    """

    verts_hom: Tensor
    faces: Tensor
    face_id: Tensor
    view: Tensor
    xy_px: Tensor
    backend: str | None = None

    def select(self, index: Tensor | slice) -> ScreenPoints:
        """Return the points at `index`."""
        return replace(self, face_id=self.face_id[index], view=self.view[index], xy_px=self.xy_px[index])

    @cached_property
    def bary(self) -> Tensor:
        """[M, 3] perspective-correct barycentric coordinates."""
        return barycentrics(self.verts_hom, self.faces, self.view, self.face_id, self.xy_px, backend=self.backend)

    def value(self, value: Tensor, faces: Tensor, face_id: Tensor) -> Tensor:
        """Interpolate `value` [V, C] at the points by faces [F, 3] of its own and their face_id [M]: [M, C]."""
        return interpolate_at_pixels(
            value, faces, face_id, self.verts_hom, self.faces, self.face_id, self.view, self.xy_px,
            backend=self.backend,
        )  # fmt: skip


def screen_points(verts_hom: Tensor, faces: Tensor, face_id: Tensor, view: Tensor, bary: Tensor) -> ScreenPoints:
    """Return the image points of points on faces, given by their barycentric coordinates `bary` [M, 3]."""
    corners = verts_hom[view[:, None], faces[face_id], :3]
    x, y, w = (corners * bary[:, :, None]).sum(1).unbind(1)
    w = w.where(w != 0, 1)  # points in the camera plane have no image point
    return ScreenPoints(verts_hom, faces, face_id, view, torch.stack([x / w, y / w], 1))


@dataclass(frozen=True)
class ShadingPoints:
    """M points on one object; what a material or a light asks of them is interpolated on first use and cached.

    mesh: the object's mesh.
    vertices_w: [V, 3] its vertices in the world.
    face_id: [M] int64; `face_id[m] = f` means that point m is on mesh.faces[f].
    where: [M, 3] perspective-correct barycentric coordinates, sum 1; or the points' image points.
    view: [M] int64; `view[m] = n` means that camera n sees point m.
    cameras: N cameras.
    backend: implementation of the ops; None: the default of the device.
    vertex_frames: normals and tangents shared by all points of the object; None: computed for these points.
    """

    mesh: Mesh
    vertices_w: Tensor
    face_id: Tensor
    where: Tensor | ScreenPoints
    view: Tensor
    cameras: Cameras
    backend: str | None = None
    vertex_frames: VertexFrames | None = None
    _kept: dict[int, tuple[Tensor | Texture, Tensor]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    _kept_packs: dict[int, tuple[Tensor, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.face_id)

    def select(self, index: Tensor | slice) -> ShadingPoints:
        """Return the points at `index`."""
        where = self.where.select(index) if isinstance(self.where, ScreenPoints) else self.where[index]
        return replace(self, face_id=self.face_id[index], where=where, view=self.view[index])

    def value(self, value: Tensor | Texture) -> Tensor:
        """Evaluate a quantity (uniform [C], per vertex [V, C] or a Texture): [M, C], or [1, C] if uniform."""
        if not isinstance(value, Texture) and value.dim() == 1:
            return value[None, :]
        # Keyed by identity; keeping the quantity itself ensures that its id is not reused.
        if id(value) not in self._kept:
            self._kept[id(value)] = (value, self._look_up(value))
        return self._kept[id(value)][1]

    def _look_up(self, value: Tensor | Texture) -> Tensor:
        if isinstance(value, PackedTexture) and value.pack is not None:
            if id(value.pack) not in self._kept_packs:
                self._kept_packs[id(value.pack)] = value.pack.sample(self.uv, self.uv_footprint, backend=self.backend)
            return self._kept_packs[id(value.pack)][value.index]
        if isinstance(value, Texture):
            return value.sample(self.uv, self.uv_footprint, backend=self.backend)
        if len(value) != self.mesh.n_vertices:
            remedy = (
                "; for a value per face give each corner a vertex of its own: vertices[faces.reshape(-1)],"
                " torch.arange(faces.numel()).reshape(-1, 3) and values.repeat_interleave(3, 0)"
            )
            raise ShapeError(
                f"ShadingPoints.value: a per-vertex value must have one row per vertex ({self.mesh.n_vertices}), "
                f"got {list(value.shape)}{remedy if len(value) == self.mesh.n_faces else ''}"
            )
        return self._interpolate(value, self.mesh.faces)

    @property
    def bary(self) -> Tensor:
        """[M, 3] barycentric coordinates."""
        return self.where.bary if isinstance(self.where, ScreenPoints) else self.where

    def _interpolate(self, value: Tensor, faces: Tensor) -> Tensor:
        if isinstance(self.where, ScreenPoints):
            return self.where.value(value, faces, self.face_id)
        return interpolate(value, faces, self.face_id, self.where, backend=self.backend)

    @cached_property
    def uv(self) -> Tensor:
        """[M, 2] texture coordinates."""
        if self.mesh.uvs is None or self.mesh.uv_faces is None:
            raise ShapeError("ShadingPoints.uv: a texture needs a mesh with texture coordinates; this one has none")
        if isinstance(self.where, ScreenPoints):
            return self._uv_and_footprint[0]
        return self._interpolate(self.mesh.uvs, self.mesh.uv_faces)

    @property
    def uv_footprint(self) -> Tensor:
        """[M, 2, 2] derivatives of the texture coordinates with respect to the image point (x, y) in pixels."""
        return self._uv_and_footprint[1]

    @cached_property
    def _uv_and_footprint(self) -> tuple[Tensor, Tensor]:
        """`uv` and `uv_footprint`."""
        if self.mesh.uvs is None or self.mesh.uv_faces is None:
            raise ShapeError("ShadingPoints.uv_footprint: the mesh has no texture coordinates")
        seen = self.where
        if not isinstance(seen, ScreenPoints):
            verts_hom = self.cameras.project(self.vertices_w, self.backend)
            seen = screen_points(verts_hom, self.mesh.faces, self.face_id, self.view, seen)
        return screen_uvs(
            self.mesh.uvs,
            self.mesh.uv_faces,
            self.face_id,
            seen.verts_hom,
            seen.faces,
            seen.face_id,
            seen.view,
            seen.xy_px,
            backend=self.backend,
        )

    @cached_property
    def tangent_frame_w(self) -> tuple[Tensor, Tensor]:
        """[M, 3] tangents (direction of increasing u) and [M, 3] bitangents (up in the texture's image), interpolated.

        Neither is unit, and they are not exactly perpendicular: normal maps are written for them as they are. Both are
        reversed where a back face is seen, as `mean_normal_w` is.
        """
        group, tangents = self._frames.tangents_w
        at_points = self._interpolate(tangents, group)
        tangent, sign = at_points[:, :3], at_points[:, 3:]
        bitangent = torch.linalg.cross(self.mean_normal_w, tangent) * sign
        return self._turned(tangent), bitangent

    @cached_property
    def position_w(self) -> Tensor:
        """[M, 3] positions in the world."""
        return self.value(self.vertices_w)

    @cached_property
    def normal_w(self) -> Tensor:
        """[M, 3] unit smooth normals in the world; reversed where the back of a face is seen."""
        return normalize(self.mean_normal_w, backend=self.backend)

    @cached_property
    def mean_normal_w(self) -> Tensor:
        """[M, 3] `normal_w` before it is normalized: the interpolated vertex normals."""
        return self._turned(self._interpolate(self._frames.normals_w, self._frames.normal_faces))

    def _turned(self, vectors: Tensor) -> Tensor:
        """Return vectors [M, 3] of the points, reversed where the back of the face is seen."""
        shows_backs = self._frames.shows_backs(self.cameras)
        if has_sizes():  # the host does not wait for the answer
            return vectors * self._facing.where(shows_backs, 1)[:, None]
        return vectors * self._facing[:, None] if bool(shows_backs) else vectors

    @cached_property
    def _frames(self) -> VertexFrames:
        return self.vertex_frames or VertexFrames(self.mesh, self.vertices_w, backend=self.backend)

    @cached_property
    def depth(self) -> Tensor:
        """[M] camera depth: distance from the camera plane in world units."""
        forward = self.cameras.cam_from_world[:, 2, :].index_select(0, self.view)
        return (forward[:, :3] * self.position_w).sum(1) + forward[:, 3]

    @cached_property
    def face_normal_w(self) -> Tensor:
        """[M, 3] unit normals of the faces themselves, reversed where `normal_w` is; without gradient."""
        normals = self._turned(face_normals(self.vertices_w.detach(), self.mesh.faces)[self.face_id])
        return torch.nn.functional.normalize(normals, dim=1)

    @cached_property
    def to_camera_w(self) -> Tensor:
        """[M, 3] unit directions towards the camera, in the world."""
        return self.cameras.directions_to_w(self.position_w, self.view, self.backend)

    @cached_property
    def _facing(self) -> Tensor:
        """[M] 1 where the front of the face is seen, -1 where its back is seen."""
        # Detached, not under no_grad: the values used here are cached, and other callers need their gradients.
        normals = face_normals(self.vertices_w.detach(), self.mesh.faces)[self.face_id]
        seen_from = (normals * self.to_camera_w.detach()).sum(1)
        return torch.where(seen_from < 0, -1.0, 1.0).to(normals.dtype)
