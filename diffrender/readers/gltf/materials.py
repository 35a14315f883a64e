"""Materials from glTF.

Source: glTF 2.0 specification, sections 3.8.3 and 3.9, and the extensions KHR_materials_unlit, KHR_materials_specular
and KHR_materials_emissive_strength.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from diffrender.errors import DataError
from diffrender.readers.gltf.document import GltfDocument
from diffrender.readers.gltf.factors import (
    base_color_factor,
    emissive_factor,
    is_unlit,
    metallic_factor,
    reflects,
    roughness_factor,
)
from diffrender.readers.gltf.textures import CLAMP_TO_EDGE, REPEAT, TEXTURES, has_own_coordinates, wrap_codes
from diffrender.scene.fields import SurfaceValue
from diffrender.scene.material import Material
from diffrender.scene.materials.ggx import Ggx
from diffrender.scene.materials.lambert import Lambert
from diffrender.scene.materials.unlit import Unlit
from diffrender.scene.textures.texture import Texture


def read_material(document: GltfDocument, entry: Mapping[str, Any], vertex_colors: Tensor | None) -> Material:
    """Build one of our materials: unlit; lambert for a dielectric that does not reflect at its boundary; else ggx.

    vertex_colors: [V, 3] linear, which the base colour is multiplied by, or None.
    Raises DataError for what these materials cannot represent.
    """
    base_color = _base_color(document, entry, vertex_colors)
    if is_unlit(entry):
        return Unlit(base_color)
    both = _texture(document, entry, "metallic_roughness")
    metallic = _channel(both, 2, metallic_factor(entry))
    roughness = _channel(both, 1, roughness_factor(entry))
    normal = _texture(document, entry, "normal")
    emissive = _emissive(document, entry)
    if not reflects(entry) and emissive is None and isinstance(metallic, Tensor) and not metallic.any():
        return Lambert(base_color, normal)
    return Ggx(base_color, metallic, roughness, normal, emissive)


def _base_color(document: GltfDocument, entry: Mapping[str, Any], vertex_colors: Tensor | None) -> SurfaceValue:
    texture = _texture(document, entry, "base_color")
    if texture is not None and vertex_colors is not None and bool((vertex_colors != 1).any()):
        raise DataError(f"{document.path}: a material has both a texture and vertex colours; bake them into one")
    if texture is not None:
        return texture
    factor = torch.tensor(base_color_factor(entry))
    return factor if vertex_colors is None else vertex_colors * factor


def _emissive(document: GltfDocument, entry: Mapping[str, Any]) -> SurfaceValue | None:
    factor = torch.tensor(emissive_factor(entry))
    texture = _texture(document, entry, "emissive")
    if not bool(factor.any()):
        return None
    return factor if texture is None else texture


def _channel(both: Texture | None, channel: int, factor: float) -> SurfaceValue:
    if both is None:
        return torch.tensor([factor], dtype=torch.float32)
    return Texture(both.texels[:, :, channel : channel + 1], both.wrap)


def _texture(document: GltfDocument, entry: Mapping[str, Any], name: str) -> Texture | None:
    """Return one of TEXTURES, multiplied by its factor, or None if the material has no such texture."""
    kind = TEXTURES[name]
    reference = kind.reference(entry)
    if reference is None:
        return None
    if has_own_coordinates(reference):
        raise DataError(
            f"{document.path}: a texture has coordinates of its own; only the first set, as it is, is supported"
        )
    wraps = wrap_codes(document, reference)
    if wraps not in ({REPEAT}, {CLAMP_TO_EDGE}):
        raise DataError(f"{document.path}: a texture is mirrored outside 0..1, or continues differently along u and v")
    texels = kind.decode(document.image(document.image_index(reference["index"])))
    return Texture(texels * torch.tensor(kind.factor(entry)), "repeat" if wraps == {REPEAT} else "clamp")
