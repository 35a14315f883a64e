"""Surfaces in the form that glTF wants: in textures what it does not have per vertex, two numbers in one texture."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.scene.gltf_surface import GltfSurface
from diffrender.scene.mesh import Mesh
from diffrender.scene.quantity_kinds import SurfaceValue, fields_of
from diffrender.scene.textures.texture import Texture

# Texels along each side of a texture that takes over what stands at vertices: some texels an edge, within bounds.
TEXELS_AN_EDGE = 6
SMALLEST_BAKED, LARGEST_BAKED = 64, 2048


def with_textures(mesh: Mesh, surface: GltfSurface) -> tuple[Mesh, GltfSurface]:
    """Return mesh and surface with all in textures that glTF cannot have at vertices: everything but base_color.

    A mesh without texture coordinates is unwrapped for it. Colours at vertices stay there.
    """
    at_vertices = {name: value for name, value in fields_of(surface).items() if _is_at_vertices(value)}
    at_vertices.pop("base_color", None)
    if not at_vertices:
        return mesh, surface
    # Slow to import, and rarely needed.
    from diffrender.scene.textures.bake import bake_to_texture, unwrap_mesh

    resolution = SMALLEST_BAKED
    while resolution < min(TEXELS_AN_EDGE * mesh.n_vertices**0.5, LARGEST_BAKED):
        resolution *= 2
    if mesh.uvs is None:
        mesh = unwrap_mesh(mesh, resolution)
    baked = {name: bake_to_texture(mesh, value.detach(), resolution) for name, value in at_vertices.items()}
    return mesh, replace(surface, **baked)


def _is_at_vertices(value: object) -> bool:
    return isinstance(value, Tensor) and value.dim() == 2


class MetallicRoughness(NamedTuple):
    """glTF's texture of both, and the factors that its channels are multiplied with.

    texture: [H, W, 3] in 0..1, roughness in green and metallic in blue, or None where both are uniform.
    """

    texture: Texture | None
    metallic_factor: float
    roughness_factor: float


def pack_metallic_roughness(metallic: SurfaceValue, roughness: SurfaceValue) -> MetallicRoughness:
    """Return both in one texture of the larger one's size; none of them stands at vertices."""
    textures = [value for value in (metallic, roughness) if isinstance(value, Texture)]
    factors = [1.0 if isinstance(value, Texture) else float(value.clamp(0, 1)) for value in (metallic, roughness)]
    if not textures:
        return MetallicRoughness(None, *factors)
    largest = max(textures, key=lambda texture: texture.texels.shape[0] * texture.texels.shape[1])
    height, width = largest.texels.shape[:2]
    channels = [
        _resize(value, height, width)
        if isinstance(value, Texture)
        else torch.ones(height, width, 1, dtype=largest.texels.dtype, device=largest.texels.device)
        for value in (roughness, metallic)
    ]
    occlusion = torch.ones_like(channels[0])
    return MetallicRoughness(Texture(torch.cat([occlusion, *channels], 2), largest.wrap), *factors)


def _resize(texture: Texture, height: int, width: int) -> Tensor:
    """Return [height, width, C]: the texture at the centres of other texels."""
    texels = texture.texels.detach()
    if texels.shape[:2] == (height, width):
        return texels
    rows, columns = (torch.arange(n, dtype=texels.dtype, device=texels.device).add(0.5) / n for n in (height, width))
    v, u = torch.meshgrid(rows, columns, indexing="ij")
    return texture.sample(torch.stack([u, v], -1).reshape(-1, 2)).reshape(height, width, -1).detach()
