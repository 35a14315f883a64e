"""Tangent frames of textured meshes, the reference frames of normal maps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

# Faces with a smaller area in texture space have no tangent.
LEAST_UV_AREA = 1e-20


def uv_handedness(uvs: Tensor, uv_faces: Tensor) -> Tensor:
    """Return [F] int64: 1 if the texture of a face is not mirrored, 0 if it is. v points down."""
    first, second = _uv_sides(uvs, uv_faces)
    # With v down, the corners of an unmirrored counter-clockwise face are clockwise.
    return (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0] <= 0).long()


def corner_groups(faces: Tensor, uvs: Tensor, uv_faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Group the corners that share a tangent: those with the same vertex, texture coordinate and handedness.

    Returns (group [F, 3], vertex [G], handedness [G]): `group[f, c] = g` means that corner c of face f belongs to group
    g; vertex[g] is its vertex; handedness[g] is +1 or, if the texture is mirrored, -1.
    """
    handedness = uv_handedness(uvs, uv_faces)
    key = (faces * max(1, len(uvs)) + uv_faces) * 2 + handedness[:, None]
    found, group = torch.unique(key, return_inverse=True)
    return group, found // 2 // max(1, len(uvs)), found % 2 * 2 - 1


def group_tangents(
    vertices: Tensor,
    faces: Tensor,
    normals: Tensor,
    uvs: Tensor,
    uv_faces: Tensor,
    group: Tensor,
    n_groups: int,
    normal_faces: Tensor | None = None,
) -> Tensor:
    """Return unit tangents [G, 3]: the direction of growing u, perpendicular to the vertex normal; zero if undefined.

    The direction of growing u of each face is projected into the plane perpendicular to the vertex normal; a group gets
    the mean over its faces, weighted by their angles in that plane. Differentiable in vertices and normals.

    vertices: [V, 3]; faces: [F, 3]; normals: [V, 3] unit; uvs: [T, 2]; uv_faces: [F, 3]; group: [F, 3] of `n_groups`.
    normal_faces: [F, 3] the number of each corner's normal among `normals`; if omitted: that of its vertex.
    Source: M. Mikkelsen, "Simulation of wrinkled surfaces revisited" (2008), and its reference implementation
    MikkTSpace, which glTF prescribes; it also splits groups whose faces do not share an edge, which we do not.
    """
    corners = vertices.index_select(0, faces.reshape(-1)).reshape(len(faces), 3, 3)
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    uv_first, uv_second = _uv_sides(uvs, uv_faces)
    area = uv_first[:, 0] * uv_second[:, 1] - uv_first[:, 1] * uv_second[:, 0]
    along_u = uv_second[:, 1:] * first - uv_first[:, 1:] * second
    along_u = along_u * area.sign()[:, None].where(area.abs()[:, None] > LEAST_UV_AREA, 0)

    normal = normals.index_select(0, (faces if normal_faces is None else normal_faces).reshape(-1)).reshape(
        len(faces), 3, 3
    )
    tangent = normalize(_in_plane(along_u[:, None, :].expand(-1, 3, -1), normal), dim=-1)
    to_next = normalize(_in_plane(corners.roll(-1, 1) - corners, normal), dim=-1)
    to_last = normalize(_in_plane(corners.roll(1, 1) - corners, normal), dim=-1)
    # 2 asin(|a - b| / 2) is the angle between unit vectors, with a finite derivative where they are parallel.
    half = (to_next - to_last).square().sum(-1, keepdim=True).clamp(1e-12, 4 - 1e-6).sqrt() / 2
    weighted = tangent * (2 * half.asin())
    summed = vertices.new_zeros(n_groups, 3).index_add(0, group.reshape(-1), weighted.reshape(-1, 3))
    return normalize(summed, dim=-1)


def _uv_sides(uvs: Tensor, uv_faces: Tensor) -> tuple[Tensor, Tensor]:
    corners = uvs.index_select(0, uv_faces.reshape(-1)).reshape(len(uv_faces), 3, 2)
    return corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]


def _in_plane(vectors: Tensor, normals: Tensor) -> Tensor:
    return vectors - normals * (vectors * normals).sum(-1, keepdim=True)
