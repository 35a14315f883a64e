"""The numbers of glTF's materials that stand beside their textures: what multiplies these, or stands alone.

Each function takes an entry of the document's `materials`; what is left out counts as the specification says.
Source: glTF 2.0 specification, section 5.19 and following, and the extension KHR_materials_emissive_strength.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Factors = tuple[float, float, float]


def base_color_factor(entry: Mapping[str, Any]) -> Factors:
    """Linear RGB that the base colour is multiplied with."""
    red, green, blue = _metallic_roughness(entry).get("baseColorFactor", (1.0, 1.0, 1.0))[:3]
    return float(red), float(green), float(blue)


def metallic_factor(entry: Mapping[str, Any]) -> float:
    """In 0..1; multiplies the blue channel of the metallic-roughness texture."""
    return float(_metallic_roughness(entry).get("metallicFactor", 1.0))


def roughness_factor(entry: Mapping[str, Any]) -> float:
    """In 0..1; multiplies the green channel of the metallic-roughness texture."""
    return float(_metallic_roughness(entry).get("roughnessFactor", 1.0))


def emissive_factor(entry: Mapping[str, Any]) -> Factors:
    """Linear RGB that the emission is multiplied with, its strength included; black where the surface does not glow."""
    extension = entry.get("extensions", {}).get("KHR_materials_emissive_strength", {})
    strength = float(extension.get("emissiveStrength", 1.0))
    red, green, blue = entry.get("emissiveFactor", (0.0, 0.0, 0.0))
    return red * strength, green * strength, blue * strength


def normal_factor(entry: Mapping[str, Any]) -> Factors:
    """What the vectors of the normal map, already in -1..1, are multiplied with."""
    scale = float(entry.get("normalTexture", {}).get("scale", 1.0))
    return scale, scale, 1.0


def reflects(entry: Mapping[str, Any]) -> bool:
    """Whether a dielectric reflects at its boundary (KHR_materials_specular)."""
    return entry.get("extensions", {}).get("KHR_materials_specular", {}).get("specularFactor", 1.0) != 0


def is_unlit(entry: Mapping[str, Any]) -> bool:
    """Whether the base colour is what is seen, without lights (KHR_materials_unlit)."""
    return "KHR_materials_unlit" in entry.get("extensions", {})


def _metallic_roughness(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    return entry.get("pbrMetallicRoughness", {})
