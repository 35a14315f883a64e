"""Texture transfer to other texture coordinates: of the same triangles, or of another mesh of the same surface."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diffrender.errors import ShapeError
from diffrender.imaging.inpaint import fill_nearest
from diffrender.ops.interpolate import interpolate
from diffrender.scene.mesh import Mesh
from diffrender.scene.shading_points import VertexFrames
from diffrender.scene.textures.texel_to_surface import TexelMap, texel_map
from diffrender.scene.textures.texture import Texture

# A frame of unit vectors with a smaller volume (1: perpendicular) is degenerate: normals cannot be expressed in it.
LEAST_VOLUME = 1e-3


@dataclass(frozen=True)
class TextureTransfer:
    """The point of an old mesh for each texel of a new layout.

    old, new: meshes with texture coordinates.
    texels_of: the K texels of the new layout that are on `new`.
    face_id: [K] int64, bary: [K, 3]: the point of each on `old`.
    """

    old: Mesh
    new: Mesh
    texels_of: TexelMap
    face_id: Tensor
    bary: Tensor

    def texels(self, texture: Texture) -> Tensor:
        """Return [H, W, C] of the new layout: the old texture's bilinear values, gutters filled; without gradient."""
        with torch.no_grad():
            return self._scatter(texture.sample(self._old_uv().to(texture.texels)))

    def normals(self, texture: Texture) -> Tensor:
        """Return [H, W, 3] of the new layout: unit vectors of a normal map, in the new tangent frames; no gradient."""
        with torch.no_grad():
            written = texture.sample(self._old_uv().to(texture.texels)).to(self.bary)
            direction = (_frames(self.old, self.face_id, self.bary) * written[:, :, None]).sum(1)
            frames = _frames(self.new, self.texels_of.face_id, self.texels_of.bary)
            return self._scatter(_express_in(frames, direction).to(texture.texels))

    def _old_uv(self) -> Tensor:
        assert self.old.uvs is not None and self.old.uv_faces is not None  # texture_transfer raises otherwise
        return interpolate(self.old.uvs, self.old.uv_faces, self.face_id, self.bary)

    def _scatter(self, values: Tensor) -> Tensor:
        covered = self.texels_of.covered
        texels = values.new_zeros(*covered.shape, values.shape[1])
        texels[covered] = values
        return fill_nearest(texels, covered)


def texture_transfer(old: Mesh, new: Mesh, height: int, width: int) -> TextureTransfer:
    """Build the transfer of textures of `old` to textures of `new` of height x width texels.

    If both have the same triangles, each point corresponds to itself, otherwise to the closest point of `old`.
    Raises ShapeError if one of the meshes has no texture coordinates.
    """
    if old.uvs is None or old.uv_faces is None:
        raise ShapeError("texture_transfer: the old mesh has no texture coordinates, so it cannot have a texture")
    texels_of = texel_map(new, height, width)
    if _same_triangles(old, new):
        return TextureTransfer(old, new, texels_of, texels_of.face_id, texels_of.bary)
    from diffrender.geometry.distances import SurfaceQuery
    from diffrender.geometry.primitives import Triangles

    points = texels_of.values(new.vertices.detach(), new.faces)
    closest = SurfaceQuery(Triangles(old.vertices, old.faces)).closest(points)
    bary = _barycentric(closest.points, old.vertices.detach().double()[old.faces[closest.face]])
    return TextureTransfer(old, new, texels_of, closest.face, bary.to(old.uvs))


def transfer_texture(texture: Texture, old: Mesh, new: Mesh, resolution: int | None = None) -> Texture:
    """Transfer `texture` of the mesh `old` to another mesh of the same surface, texel by texel from the closest point.

    new: with its own texture coordinates. resolution: texels along each side of the new texture; if omitted, the height
        of the old one.
    Raises ShapeError if one of the meshes has no texture coordinates.
    """
    resolution = texture.texels.shape[0] if resolution is None else resolution
    return replace(texture, texels=texture_transfer(old, new, resolution, resolution).texels(texture))


def transfer_normal_map(texture: Texture, old: Mesh, new: Mesh, resolution: int | None = None) -> Texture:
    """Transfer a normal map as `transfer_texture` does, and express it in the tangent frames of the new mesh.

    The vectors returned are unit. Raises ShapeError if one of the meshes has no texture coordinates.
    """
    resolution = texture.texels.shape[0] if resolution is None else resolution
    return replace(texture, texels=texture_transfer(old, new, resolution, resolution).normals(texture))


def _same_triangles(old: Mesh, new: Mesh) -> bool:
    return (
        old.faces.shape == new.faces.shape
        and old.vertices.shape == new.vertices.shape
        and torch.equal(old.faces, new.faces)
        and torch.equal(old.vertices, new.vertices)
    )


def _frames(mesh: Mesh, face_id: Tensor, bary: Tensor) -> Tensor:
    """Return [K, 3, 3] tangent frames at points on a mesh: rows along u, up in the image, and outwards."""
    frames = VertexFrames(mesh, mesh.vertices.detach())
    group, tangents = frames.tangents_w
    outwards = interpolate(frames.normals_w, frames.normal_faces, face_id, bary)
    signed = interpolate(tangents, group, face_id, bary)
    up = torch.linalg.cross(outwards, signed[:, :3]) * signed[:, 3:]
    return torch.stack([signed[:, :3], up, outwards], 1)


def _express_in(frames: Tensor, direction: Tensor) -> Tensor:
    """Express `direction` [K, 3] by the rows of frames [K, 3, 3]: [K, 3] unit; outwards if a frame is degenerate."""
    along, up, outwards = normalize(frames, dim=2).unbind(1)
    lengths = frames.norm(dim=2)
    volume = (torch.linalg.cross(along, up) * outwards).sum(1, keepdim=True)
    is_sound = volume.abs() > LEAST_VOLUME
    # Cramer's rule: the volume with the direction instead of each axis, over that of the three axes.
    parts = [
        (torch.linalg.cross(first, second) * direction).sum(1)
        for first, second in ((up, outwards), (outwards, along), (along, up))
    ]
    written = torch.stack(parts, 1) / volume.where(is_sound, 1) / lengths.where(lengths > 0, 1)
    flat = torch.zeros_like(written)
    flat[:, 2] = 1
    return normalize(written.where(is_sound, flat), dim=1)


def _barycentric(points: Tensor, corners: Tensor) -> Tensor:
    """Return [P, 3] barycentric coordinates of points [P, 3] on triangles [P, 3, 3]; thirds if one has no area."""
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    normal = torch.linalg.cross(a, b)
    square = normal.square().sum(1, keepdim=True)
    offset = points - corners[:, 0]
    second = (torch.linalg.cross(offset, b) * normal).sum(1, keepdim=True)
    third = (torch.linalg.cross(a, offset) * normal).sum(1, keepdim=True)
    pair = torch.cat([second, third], 1) / square.where(square > 0, 1)
    return torch.where(square > 0, torch.cat([1 - pair.sum(1, keepdim=True), pair], 1), 1 / 3)
