"""The textures of glTF's materials: where each is named, what its numbers mean and what multiplies them.

Source: glTF 2.0 specification, sections 3.8.3 and 3.9, and the extension KHR_texture_transform.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffrender.readers.gltf.document import GltfDocument
from diffrender.readers.gltf.factors import (
    Factors,
    base_color_factor,
    emissive_factor,
    metallic_factor,
    metallic_roughness,
    normal_factor,
    roughness_factor,
)
from diffrender.readers.images.image import image_from_pillow

TRANSFORM = "KHR_texture_transform"
IDENTITY: Mapping[str, Any] = {"offset": [0, 0], "rotation": 0, "scale": [1, 1]}
REPEAT, CLAMP_TO_EDGE = 10497, 33071


class TextureKind(NamedTuple):
    """One of the textures that a material can have.

    reference: its textureInfo in a material's entry, or None. decode: from a picture to [H, W, 3].
    factor: the three numbers that the result is multiplied by.
    """

    reference: Callable[[Mapping[str, Any]], Mapping[str, Any] | None]
    decode: Callable[[Image.Image], Tensor]
    factor: Callable[[Mapping[str, Any]], Factors]


def _numbers(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(picture.convert("RGB")).astype(np.float32) / 255)


def _linear_colors(picture: Image.Image) -> Tensor:
    return image_from_pillow(picture).rgb


def _vectors(picture: Image.Image) -> Tensor:
    return 2 * _numbers(picture) - 1


# Only colours are sRGB. Roughness is in green and metallic in blue.
TEXTURES: Mapping[str, TextureKind] = {
    "base_color": TextureKind(
        lambda entry: metallic_roughness(entry).get("baseColorTexture"), _linear_colors, base_color_factor
    ),
    "metallic_roughness": TextureKind(
        lambda entry: metallic_roughness(entry).get("metallicRoughnessTexture"),
        _numbers,
        lambda entry: (1.0, roughness_factor(entry), metallic_factor(entry)),
    ),
    "normal": TextureKind(lambda entry: entry.get("normalTexture"), _vectors, normal_factor),
    "emissive": TextureKind(lambda entry: entry.get("emissiveTexture"), _linear_colors, emissive_factor),
}


def wrap_codes(document: GltfDocument, reference: Mapping[str, Any]) -> set[int]:
    """Return glTF's codes for how a texture continues outside 0..1 along u and v; one code if both are alike."""
    sampler = document.sampler(reference["index"])
    return {sampler.get("wrapS", REPEAT), sampler.get("wrapT", REPEAT)}


def has_own_coordinates(reference: Mapping[str, Any]) -> bool:
    """Return whether a texture is placed by anything but the first texture coordinates as they are."""
    transform = reference.get("extensions", {}).get(TRANSFORM, {})
    is_moved = any(transform.get(name, neutral) != neutral for name, neutral in IDENTITY.items())
    return is_moved or transform.get("texCoord", reference.get("texCoord", 0)) != 0
