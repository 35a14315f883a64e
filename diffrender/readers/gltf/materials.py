"""Materials from glTF.

Source: glTF 2.0 specification, sections 3.8.3 and 3.9, and the extensions KHR_materials_unlit, KHR_materials_specular
and KHR_materials_emissive_strength.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    normal_factor,
    reflects,
    roughness_factor,
)
from diffrender.readers.images.image import image_from_pillow
from diffrender.scene.fields import SurfaceValue
from diffrender.scene.material import Material
from diffrender.scene.materials.ggx import Ggx
from diffrender.scene.materials.lambert import Lambert
from diffrender.scene.materials.unlit import Unlit
from diffrender.scene.textures.texture import Texture

REPEAT, CLAMP_TO_EDGE = 10497, 33071
TRANSFORM = "KHR_texture_transform"


def material_of(document: GltfDocument, entry: Mapping[str, Any], vertex_colors: Tensor | None) -> Material:
    """One of our materials: unlit; lambert, for a dielectric without reflections at its boundary; else ggx.

    vertex_colors: [V, 3] linear, which the base colour is multiplied with, or None.
    Raises DataError for what has no place in them.
    """
    base_color = _base_color(document, entry, vertex_colors)
    if is_unlit(entry):
        return Unlit(base_color)
    both = _texture(document, entry.get("pbrMetallicRoughness", {}).get("metallicRoughnessTexture"), _as_it_is)
    metallic = _channel(both, 2, metallic_factor(entry))
    roughness = _channel(both, 1, roughness_factor(entry))
    normal = _normal(document, entry)
    emissive = _emissive(document, entry)
    if not reflects(entry) and emissive is None and isinstance(metallic, Tensor) and not metallic.any():
        return Lambert(base_color, normal)
    return Ggx(base_color, metallic, roughness, normal, emissive)


def _base_color(document: GltfDocument, entry: Mapping[str, Any], vertex_colors: Tensor | None) -> SurfaceValue:
    factor = torch.tensor(base_color_factor(entry))
    texture = _texture(document, entry.get("pbrMetallicRoughness", {}).get("baseColorTexture"), _linear)
    if texture is not None and vertex_colors is not None and bool((vertex_colors != 1).any()):
        raise DataError(f"{document.path}: a material has a texture and colours at vertices; bake them into one")
    if texture is not None:
        return Texture(texture.texels * factor, texture.wrap)
    return factor if vertex_colors is None else vertex_colors * factor


def _emissive(document: GltfDocument, entry: Mapping[str, Any]) -> SurfaceValue | None:
    factor = torch.tensor(emissive_factor(entry))
    texture = _texture(document, entry.get("emissiveTexture"), _linear)
    if not bool(factor.any()):
        return None
    return factor if texture is None else Texture(texture.texels * factor, texture.wrap)


def _normal(document: GltfDocument, entry: Mapping[str, Any]) -> Texture | None:
    texture = _texture(document, entry.get("normalTexture"), _as_it_is)
    if texture is None:
        return None
    return Texture((2 * texture.texels - 1) * torch.tensor(normal_factor(entry)), texture.wrap)


def _channel(both: Texture | None, channel: int, factor: float) -> SurfaceValue:
    if both is None:
        return torch.tensor([factor], dtype=torch.float32)
    return Texture(both.texels[:, :, channel : channel + 1] * factor, both.wrap)


def _texture(
    document: GltfDocument, reference: Mapping[str, Any] | None, convert: Callable[[Any], Tensor]
) -> Texture | None:
    if reference is None:
        return None
    if reference.get("texCoord", 0) != 0 or TRANSFORM in reference.get("extensions", {}):
        raise DataError(f"{document.path}: a texture has coordinates of its own; only the first set is understood")
    sampler = document.sampler(reference["index"])
    wraps = {sampler.get("wrapS", REPEAT), sampler.get("wrapT", REPEAT)}
    if wraps not in ({REPEAT}, {CLAMP_TO_EDGE}):
        raise DataError(f"{document.path}: a texture is mirrored outside 0..1, or each direction continues differently")
    wrap = "repeat" if wraps == {REPEAT} else "clamp"
    return Texture(convert(document.picture(reference["index"])), wrap)


def _linear(picture: Any) -> Tensor:
    return image_from_pillow(picture).rgb


def _as_it_is(picture: Any) -> Tensor:
    return torch.from_numpy(np.asarray(picture.convert("RGB")).astype(np.float32) / 255)
