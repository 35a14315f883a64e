"""Materials from glTF.

Source: glTF 2.0 specification, sections 3.8.3 and 3.9, and the extensions KHR_materials_unlit, KHR_materials_specular
and KHR_materials_emissive_strength.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
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
from diffrender.readers.gltf.textures import TEXTURES, placement_of, placement_of_material, wrap_textures
from diffrender.scene.material import Material
from diffrender.scene.materials.ggx import Ggx
from diffrender.scene.materials.lambert import Lambert
from diffrender.scene.materials.unlit import Unlit
from diffrender.scene.quantity_kinds import SurfaceValue
from diffrender.scene.textures.texture import Texture


def read_textures(
    document: GltfDocument, entry: Mapping[str, Any], uvs: np.ndarray | None
) -> tuple[dict[str, Texture], np.ndarray | None]:
    """Return the textures of a material by their names in TEXTURES, each multiplied by its factor; and coordinates.

    uvs: those placed as the first texture's (`placement_of_material`). Raises DataError if another is placed otherwise.
    """
    found = {}
    for name, kind in TEXTURES.items():
        reference = kind.reference(entry)
        if reference is None:
            continue
        if placement_of(reference) != placement_of_material(entry):
            raise DataError(f"{document.path}: the textures of a material are placed differently; bake them alike")
        texels = kind.decode(document.image(document.image_index(reference["index"])))
        found[name] = texels * torch.tensor(kind.factor(entry)), reference
    textures, uvs, notes = wrap_textures(document, found, uvs)
    if notes:
        raise DataError(f"{document.path}: {notes[0]}")
    return textures, uvs


def read_material(
    document: GltfDocument,
    entry: Mapping[str, Any],
    vertex_colors: Tensor | None,
    textures: Mapping[str, Texture],
) -> Material:
    """Build one of our materials: unlit; lambert for a dielectric that does not reflect at its boundary; else ggx.

    vertex_colors: [V, 3] linear, which the base colour is multiplied by, or None. textures: of `read_textures`.
    Raises DataError for what these materials cannot represent.
    """
    base_color = _base_color(document, entry, vertex_colors, textures.get("base_color"))
    if is_unlit(entry):
        return Unlit(base_color)
    both = textures.get("metallic_roughness")
    metallic = _channel(both, 2, metallic_factor(entry))
    roughness = _channel(both, 1, roughness_factor(entry))
    normal = textures.get("normal")
    emissive = _emissive(entry, textures.get("emissive"))
    if not reflects(entry) and emissive is None and isinstance(metallic, Tensor) and not metallic.any():
        return Lambert(base_color, normal)
    return Ggx(base_color, metallic, roughness, normal, emissive)


def _base_color(
    document: GltfDocument, entry: Mapping[str, Any], vertex_colors: Tensor | None, texture: Texture | None
) -> SurfaceValue:
    if texture is not None and vertex_colors is not None and bool((vertex_colors != 1).any()):
        raise DataError(f"{document.path}: a material has both a texture and vertex colours; bake them into one")
    if texture is not None:
        return texture
    factor = torch.tensor(base_color_factor(entry))
    return factor if vertex_colors is None else vertex_colors * factor


def _emissive(entry: Mapping[str, Any], texture: Texture | None) -> SurfaceValue | None:
    factor = torch.tensor(emissive_factor(entry))
    if not bool(factor.any()):
        return None
    return factor if texture is None else texture


def _channel(both: Texture | None, channel: int, factor: float) -> SurfaceValue:
    if both is None:
        return torch.tensor([factor], dtype=torch.float32)
    return Texture(both.texels[:, :, channel : channel + 1], both.wrap)
