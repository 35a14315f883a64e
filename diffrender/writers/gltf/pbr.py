"""What glTF can say of a surface, and what it says of our materials."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from diffrender.errors import ShapeError
from diffrender.scene.material import Material, SurfaceValue
from diffrender.scene.materials.ggx import Ggx
from diffrender.scene.materials.lambert import Lambert
from diffrender.scene.materials.phong import Phong, equivalent_roughness
from diffrender.scene.materials.unlit import Unlit
from diffrender.scene.mesh import Mesh
from diffrender.scene.textures.texture import Texture

# Texels along each side of a texture that takes over what stands at vertices: some texels an edge, within bounds.
TEXELS_AN_EDGE = 6
SMALLEST_BAKED, LARGEST_BAKED = 64, 2048


@dataclass(frozen=True)
class GltfSurface:
    """glTF's metallic-roughness material, or an unlit one.

    base_color: linear RGB in 0..1. metallic, roughness: in 0..1. normal: vectors in the tangent frame (along u, up in
        the image, outwards), or None. emissive: linear radiance, or None. Each uniform [C], per vertex [V, C] or a
        Texture, C being 1 for metallic and roughness and else 3.
    specular: whether a dielectric reflects at its boundary; False is ideally diffuse (KHR_materials_specular).
    unlit: base_color is what is seen, without lights (KHR_materials_unlit).
    """

    base_color: SurfaceValue
    metallic: SurfaceValue = field(default_factory=lambda: torch.zeros(1))
    roughness: SurfaceValue = field(default_factory=lambda: torch.ones(1))
    normal: SurfaceValue | None = None
    emissive: SurfaceValue | None = None
    specular: bool = True
    unlit: bool = False


def surface_of(material: Material) -> GltfSurface:
    """`material` as glTF can say it: exactly for lambert, ggx and unlit; phong becomes the nearest ggx.

    That has the highlight's width, and the boundary of a dielectric in place of `specular`.
    Raises ShapeError for a material that glTF has nothing for.
    """
    if isinstance(material, Unlit):
        return GltfSurface(material.base_color, unlit=True)
    if isinstance(material, Lambert):
        return GltfSurface(material.base_color, normal=material.normal, specular=False)
    if isinstance(material, Ggx):
        return GltfSurface(
            material.base_color, material.metallic, material.roughness, material.normal, material.emissive
        )
    if isinstance(material, Phong):
        shininess = material.shininess
        if isinstance(shininess, Texture):
            roughness: SurfaceValue = replace(shininess, texels=equivalent_roughness(shininess.texels))
        else:
            roughness = equivalent_roughness(shininess)
        return GltfSurface(material.base_color, roughness=roughness, normal=material.normal)
    raise ShapeError(f"glTF: there is nothing for a material of type {type(material).__name__}")


def with_textures(mesh: Mesh, surface: GltfSurface) -> tuple[Mesh, GltfSurface]:
    """Mesh and surface with all in textures that glTF cannot have at vertices: everything but base_color.

    A mesh without texture coordinates is unwrapped for it. Colours at vertices stay there.
    """
    names = [name for name in ("metallic", "roughness", "normal", "emissive") if _is_at_vertices(surface, name)]
    if not names:
        return mesh, surface
    # Slow to import, and rarely needed.
    from diffrender.scene.textures.bake import bake_to_texture, unwrap_mesh

    resolution = SMALLEST_BAKED
    while resolution < min(TEXELS_AN_EDGE * mesh.n_vertices**0.5, LARGEST_BAKED):
        resolution *= 2
    if mesh.uvs is None:
        mesh = unwrap_mesh(mesh, resolution)
    baked = {name: bake_to_texture(mesh, getattr(surface, name).detach(), resolution) for name in names}
    return mesh, replace(surface, **baked)


def _is_at_vertices(surface: GltfSurface, name: str) -> bool:
    value = getattr(surface, name)
    return isinstance(value, Tensor) and value.dim() == 2


class MetallicRoughness(NamedTuple):
    """glTF's texture of both, and the factors that its channels are multiplied with.

    texture: [H, W, 3] in 0..1, roughness in green and metallic in blue, or None where both are uniform.
    """

    texture: Texture | None
    metallic_factor: float
    roughness_factor: float


def pack_metallic_roughness(metallic: SurfaceValue, roughness: SurfaceValue) -> MetallicRoughness:
    """Both in one texture of the larger one's size; none of them stands at vertices."""
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
    """[height, width, C]: the texture at the centres of other texels."""
    texels = texture.texels.detach()
    if texels.shape[:2] == (height, width):
        return texels
    rows, columns = (torch.arange(n, dtype=texels.dtype, device=texels.device).add(0.5) / n for n in (height, width))
    v, u = torch.meshgrid(rows, columns, indexing="ij")
    return texture.sample(torch.stack([u, v], -1).reshape(-1, 2)).reshape(height, width, -1).detach()
