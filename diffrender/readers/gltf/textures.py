"""The textures of glTF's materials: where each is named, what its numbers mean and what multiplies them.

Source: glTF 2.0 specification, sections 3.8.3 and 3.9, and the extension KHR_texture_transform.
"""

from __future__ import annotations

import math
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
from diffrender.scene.textures.texture import Texture

TRANSFORM = "KHR_texture_transform"
NEAREST = 9728
REPEAT, CLAMP_TO_EDGE, MIRRORED_REPEAT = 10497, 33071, 33648


class Placement(NamedTuple):
    """Where a texture's coordinates come from: TEXCOORD_n, scaled, rotated (radians, v pointing down) and moved."""

    tex_coord: int = 0
    offset: tuple[float, float] = (0.0, 0.0)
    rotation: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)

    def place(self, uvs: np.ndarray) -> np.ndarray:
        """Return texture coordinates [T, 2] for those of TEXCOORD_n."""
        if self._replace(tex_coord=0) == Placement():
            return uvs
        c, s = math.cos(self.rotation), math.sin(self.rotation)
        return uvs * np.array(self.scale) @ np.array([[c, -s], [s, c]]) + np.array(self.offset)


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


def placement_of(reference: Mapping[str, Any]) -> Placement:
    """Return where a textureInfo takes its coordinates from."""
    moved = reference.get("extensions", {}).get(TRANSFORM, {})
    offset, scale = moved.get("offset", (0.0, 0.0)), moved.get("scale", (1.0, 1.0))
    return Placement(
        int(moved.get("texCoord", reference.get("texCoord", 0))),
        (float(offset[0]), float(offset[1])),
        float(moved.get("rotation", 0.0)),
        (float(scale[0]), float(scale[1])),
    )


def placement_of_material(entry: Mapping[str, Any]) -> Placement:
    """Return the placement of a material's first texture, in the order of TEXTURES; the plain one without any."""
    references = (kind.reference(entry) for kind in TEXTURES.values())
    return next((placement_of(reference) for reference in references if reference is not None), Placement())


def wrap_textures(
    document: GltfDocument, textures: Mapping[str, tuple[Tensor, Mapping[str, Any]]], uvs: np.ndarray | None
) -> tuple[dict[str, Texture], np.ndarray | None, list[str]]:
    """Return textures that continue outside 0..1 as their samplers say, the coordinates for them, and notes.

    textures: by name: texels [H, W, C] and the textureInfo. uvs: [T, 2].
    A mirrored texture becomes one that holds its mirror image, and coordinates are halved; then the others are doubled.
    """
    wraps = {name: _wraps(document, reference, uvs) for name, (_, reference) in textures.items()}
    mirrored = [any(codes[axis] == MIRRORED_REPEAT for codes in wraps.values()) for axis in range(2)]
    result: dict[str, Texture] = {}
    notes: list[str] = []
    for name, (texels, _) in textures.items():
        codes = wraps[name]
        for axis in range(2):
            if mirrored[axis]:
                dim = 1 - axis  # u runs along the columns
                other = texels.flip(dim) if codes[axis] == MIRRORED_REPEAT else texels
                texels = torch.cat([texels, other], dim)
        # An axis without a preference takes the other's.
        known = {code for code in codes if code is not None}
        if CLAMP_TO_EDGE in known and (len(known) > 1 or any(mirrored)):
            notes.append(f"its {name} texture, clamped along u or v, is repeated along both")
        result[name] = Texture(texels, "clamp" if known == {CLAMP_TO_EDGE} and not any(mirrored) else "repeat")
    if uvs is not None and any(mirrored):
        uvs = uvs * np.where(mirrored, 0.5, 1.0)
    return result, uvs, notes


def _wraps(document: GltfDocument, reference: Mapping[str, Any], uvs: np.ndarray | None) -> tuple[int | None, ...]:
    """Return the codes along u and v; None along an axis on which no coordinate is outside 0..1 and codes differ."""
    sampler = document.sampler(reference["index"])
    codes = sampler.get("wrapS", REPEAT), sampler.get("wrapT", REPEAT)
    if codes[0] == codes[1] != MIRRORED_REPEAT or uvs is None or len(uvs) == 0:
        return codes
    is_inside = np.all((uvs >= 0) & (uvs <= 1), axis=0)
    return tuple(None if is_inside[axis] else codes[axis] for axis in range(2))
