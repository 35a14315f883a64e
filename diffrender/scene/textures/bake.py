"""Baking between vertex values and textures; filling of unseen texels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from diffrender.checks import check_shape
from diffrender.geometry.harmonic_fill import fill_harmonic
from diffrender.geometry.unwrap import UvLayout, unwrap
from diffrender.imaging.inpaint import fill_nearest, fill_smooth
from diffrender.scene.mesh import Mesh
from diffrender.scene.textures.texel_to_surface import TexelMap, texel_map
from diffrender.scene.textures.texture import Texture

# Weight of the regularizing term, relative to sums of squared barycentric coordinates.
LEAST_SQUARE = 1e-6


def unwrap_mesh(mesh: Mesh, resolution: int, padding: int | None = None) -> Mesh:
    """Return the mesh with new texture coordinates for a square texture of `resolution` texels (geometry.unwrap)."""
    layout: UvLayout = unwrap(mesh.vertices, mesh.faces, resolution, padding)
    return replace(mesh, uvs=layout.uvs, uv_faces=layout.uv_faces)


def bake_to_texture(mesh: Mesh, vertex_values: Tensor, resolution: int) -> Texture:
    """Bake `vertex_values` [V, C] of a mesh with texture coordinates to a square texture; gutters are filled.

    Raises ShapeError if the mesh has no texture coordinates.
    """
    check_shape("bake_to_texture", "vertex_values", vertex_values, (mesh.n_vertices, "C"))
    texels_of = texel_map(mesh, resolution, resolution)
    texels = vertex_values.new_zeros(resolution, resolution, vertex_values.shape[1])
    texels[texels_of.covered] = texels_of.values(vertex_values, mesh.faces).to(texels.dtype)
    return Texture(fill_nearest(texels, texels_of.covered))


def bake_to_vertices(mesh: Mesh, texture: Texture) -> Tensor:
    """Fit vertex values [V, C] to `texture` by least squares over its texels.

    A vertex on which no texel depends takes the texture's bilinear value at its own texture coordinates.
    Raises ShapeError if the mesh has no texture coordinates.
    """
    from scipy.sparse import csr_matrix, diags
    from scipy.sparse.linalg import splu

    height, width, channels = texture.texels.shape
    texels_of = texel_map(mesh, height, width)
    assert mesh.uvs is not None and mesh.uv_faces is not None  # texel_map raises otherwise
    own = texture.texels.new_zeros(mesh.n_vertices, channels)
    own[mesh.faces.reshape(-1)] = texture.sample(mesh.uvs[mesh.uv_faces.reshape(-1)]).detach()
    corners = mesh.faces[texels_of.face_id].cpu().numpy()
    rows = np.repeat(np.arange(len(corners)), 3)
    weights = texels_of.bary.double().cpu().numpy().ravel()
    shares = csr_matrix((weights, (rows, corners.ravel())), shape=(len(corners), mesh.n_vertices))
    seen = texture.texels.detach()[texels_of.covered].double().cpu().numpy()
    # Solve for the difference from `own`: where no texel is covered, LEAST_SQUARE keeps it 0.
    rest = seen - shares @ own.double().cpu().numpy()
    system = (shares.T @ shares + LEAST_SQUARE * diags(np.ones(mesh.n_vertices))).tocsc()
    return own + torch.from_numpy(splu(system).solve(shares.T @ rest)).to(own)


def complete_texture(mesh: Mesh, texture: Texture, known: Tensor) -> Texture:
    """Fill the texels of `texture` that are not `known` [H, W] bool: unseen parts of the surface, then gutters.

    On the surface values are interpolated along the mesh, also across seams: a smooth field through the means around
    its vertices, plus the details of the known texels, faded out. Gutters take the nearest texel of a chart.
    Raises ShapeError if the mesh has no texture coordinates.
    """
    texels = texture.texels.detach()
    texels_of = texel_map(mesh, *texels.shape[:2])
    covered = texels_of.covered
    seen = known & covered
    if bool(seen.any()) and not bool((known | ~covered).all()):
        means, weight = _means_around_vertices(mesh, texels_of, texels[covered], seen[covered])
        field = texels_of.values(fill_harmonic(means, weight > 0, mesh.faces), mesh.faces)
        detail = torch.zeros_like(texels)
        detail[covered] = texels[covered] - field
        whole = torch.zeros_like(texels)
        whole[covered] = field + fill_smooth(detail, seen)[covered]
        texels = torch.where(seen[:, :, None], texels, whole)
    return replace(texture, texels=torch.where(known[:, :, None], texture.texels, fill_nearest(texels, covered)))


def _means_around_vertices(mesh: Mesh, texels_of: TexelMap, values: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Return [V, C] means of the chosen ones of K texels by barycentric weights, and [V] the sums of the weights."""
    shares = (texels_of.bary * chosen[:, None]).reshape(-1)
    corner = mesh.faces[texels_of.face_id].reshape(-1)
    weight = shares.new_zeros(mesh.n_vertices).index_add(0, corner, shares)
    total = values.new_zeros(mesh.n_vertices, values.shape[1])
    total.index_add_(0, corner, values.repeat_interleave(3, 0) * shares[:, None])
    return total / weight.where(weight > 0, 1)[:, None], weight
