"""The textures of glTF's materials, beside the base colour's picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffrender.readers.images import image_from_pillow
from diffrender.scene.texture import Texture

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


def material_maps(materials: Sequence[Any], wrap: str) -> dict[str, Texture]:
    """The maps of MeshData from the PBRMaterial of each part of a file; only those that all parts share.

    Multiplied with the factors that stand beside them, where all parts agree about these.
    """
    maps: dict[str, Texture] = {}
    for name, (attribute, convert) in _MAPS.items():
        pictures = [getattr(material, attribute, None) for material in materials]
        if pictures and pictures[0] is not None and all(_same(picture, pictures[0]) for picture in pictures):
            factors = {_FACTORS[name](material) for material in materials}
            factor = factors.pop() if len(factors) == 1 else (1.0, 1.0, 1.0)
            maps[name] = Texture(convert(pictures[0]) * torch.tensor(factor), wrap)
    return maps


def _metallic_roughness_factor(material: Any) -> tuple[float, float, float]:
    roughness, metallic = (getattr(material, name, None) for name in ("roughnessFactor", "metallicFactor"))
    return 1.0, 1.0 if roughness is None else float(roughness), 1.0 if metallic is None else float(metallic)


def _emissive_factor(material: Any) -> tuple[float, float, float]:
    factor = getattr(material, "emissiveFactor", None)
    red, green, blue = (1.0, 1.0, 1.0) if factor is None else np.asarray(factor, np.float64).tolist()
    return red, green, blue


def _no_factor(material: Any) -> tuple[float, float, float]:
    return 1.0, 1.0, 1.0


_FACTORS: Mapping[str, Callable[[Any], tuple[float, float, float]]] = {
    "metallic_roughness": _metallic_roughness_factor,
    "normal": _no_factor,
    "emissive": _emissive_factor,
}


def _same(a: Any, b: Any) -> bool:
    return a is b or a == b


def wrap_of(header: Mapping[str, Any]) -> str:
    """`clamp` where all the textures of a file are clamped in both directions, else `repeat`."""
    samplers, textures = header.get("samplers", []), header.get("textures", [])
    used = [samplers[texture["sampler"]] if "sampler" in texture else {} for texture in textures]
    clamped = [sampler.get("wrapS") == sampler.get("wrapT") == CLAMP_TO_EDGE for sampler in used]
    return "clamp" if clamped and all(clamped) else "repeat"


def tint_of(materials: Sequence[Any]) -> tuple[float, float, float]:
    """The linear RGB that all the parts' base colours are multiplied with; white where they do not agree."""
    factors = {_factor(material) for material in materials}
    return factors.pop() if len(factors) == 1 else (1.0, 1.0, 1.0)


def _factor(material: Any) -> tuple[float, float, float]:
    factor = getattr(material, "baseColorFactor", None)
    if factor is None:
        return (1.0, 1.0, 1.0)
    values = np.asarray(factor)
    scale = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
    red, green, blue = (values[:3].astype(np.float64) / scale).tolist()
    return (red, green, blue)
