"""The textures of glTF's materials, beside the base colour's picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffrender.readers.gltf.factors import (
    Factors,
    base_color_factor,
    emissive_factor,
    is_unlit,
    metallic_factor,
    normal_factor,
    reflects,
    roughness_factor,
)
from diffrender.readers.images.image import image_from_pillow
from diffrender.readers.meshes.mesh_data import Finish
from diffrender.scene.textures.texture import Texture

CLAMP_TO_EDGE = 33071


def _as_it_is(picture: Any) -> Tensor:
    return torch.from_numpy(np.asarray(picture.convert("RGB")).astype(np.float32) / 255)


def _linear(picture: Any) -> Tensor:
    return image_from_pillow(picture).rgb


def _direction(picture: Any) -> Tensor:
    return 2 * _as_it_is(picture) - 1


# glTF 2.0, section 3.9: only colours are sRGB.
_MAPS: Mapping[str, tuple[str, Callable[[Any], Tensor]]] = {
    "metallic_roughness": ("metallicRoughnessTexture", _as_it_is),
    "normal": ("normalTexture", _direction),
    "emissive": ("emissiveTexture", _linear),
}


def material_maps(materials: Sequence[Any], entries: Sequence[Mapping[str, Any]], wrap: str) -> dict[str, Texture]:
    """The maps of MeshData from the PBRMaterial of each part of a file; only those that all parts share.

    entries: the file's own descriptions of these materials (used_materials). The maps are multiplied with the factors
        that stand there, where all agree about these; a map that counts nothing is left out.
    """
    maps: dict[str, Texture] = {}
    for name, (attribute, convert) in _MAPS.items():
        pictures = [getattr(material, attribute, None) for material in materials]
        if pictures and pictures[0] is not None and all(_same(picture, pictures[0]) for picture in pictures):
            factor = _share([_FACTORS[name](entry) for entry in entries])
            if any(factor):
                maps[name] = Texture(convert(pictures[0]) * torch.tensor(factor), wrap)
    return maps


def find_used_materials(header: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The entries of a glTF document's `materials` that its meshes use; an empty one for what has none."""
    primitives = [primitive for mesh in header.get("meshes", []) for primitive in mesh.get("primitives", [])]
    indices = {primitive.get("material") for primitive in primitives}
    return [{} if index is None else header["materials"][index] for index in indices]


def _metallic_roughness_factor(entry: Mapping[str, Any]) -> Factors:
    return 1.0, roughness_factor(entry), metallic_factor(entry)


_FACTORS: Mapping[str, Callable[[Mapping[str, Any]], Factors]] = {
    "metallic_roughness": _metallic_roughness_factor,
    "normal": normal_factor,
    "emissive": emissive_factor,
}


def _share(factors: Sequence[Factors]) -> Factors:
    """The factors that all parts have; ones where they do not agree."""
    return factors[0] if len(set(factors)) == 1 else (1.0, 1.0, 1.0)


def _same(a: Any, b: Any) -> bool:
    return a is b or a == b


def wrap_of(header: Mapping[str, Any]) -> str:
    """`clamp` where all the textures of a file are clamped in both directions, else `repeat`."""
    samplers, textures = header.get("samplers", []), header.get("textures", [])
    used = [samplers[texture["sampler"]] if "sampler" in texture else {} for texture in textures]
    clamped = [sampler.get("wrapS") == sampler.get("wrapT") == CLAMP_TO_EDGE for sampler in used]
    return "clamp" if clamped and all(clamped) else "repeat"


def tint_of(entries: Sequence[Mapping[str, Any]]) -> Factors:
    """The linear RGB that all the parts' base colours are multiplied with; white where they do not agree."""
    return _share([base_color_factor(entry) for entry in entries])


def finish_of(entries: Sequence[Mapping[str, Any]]) -> Finish:
    """What is uniform about the surface of all the parts; plainly diffuse where they do not agree."""
    found = {_finish(entry) for entry in entries}
    return found.pop() if len(found) == 1 else Finish()


def _finish(entry: Mapping[str, Any]) -> Finish:
    plain, glow = Finish(), emissive_factor(entry)
    has_map = "metallicRoughnessTexture" in entry.get("pbrMetallicRoughness", {})
    return Finish(
        plain.metallic if has_map else metallic_factor(entry),
        plain.roughness if has_map else roughness_factor(entry),
        glow if any(glow) and "emissiveTexture" not in entry else None,
        reflects(entry),
        is_unlit(entry),
    )
