"""The numbers of glTF's materials: uniform values, or what a texture is multiplied by.

Each function takes an entry of the document's `materials`; an omitted number has the default of the specification.
Source: glTF 2.0 specification, section 5.19 and following, and the extensions KHR_materials_emissive_strength,
KHR_materials_specular, KHR_materials_unlit and (archived) KHR_materials_pbrSpecularGlossiness.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Factors = tuple[float, float, float]

# What a dielectric of refractive index 1.5 reflects at normal incidence.
DIELECTRIC = 0.04
# Theirs -> ours: what of the archived extension a dielectric shares with the metallic-roughness model.
_DIFFUSE = {"diffuseTexture": "baseColorTexture", "diffuseFactor": "baseColorFactor"}


def metallic_roughness(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the entry's `pbrMetallicRoughness`.

    Of a specular-glossiness material: that of a dielectric with its diffuse colour and (uniform) glossiness.
    """
    glossy = entry.get("extensions", {}).get("KHR_materials_pbrSpecularGlossiness")
    if glossy is None:
        return entry.get("pbrMetallicRoughness", {})
    diffuse = {ours: glossy[theirs] for theirs, ours in _DIFFUSE.items() if theirs in glossy}
    return diffuse | {"metallicFactor": 0.0, "roughnessFactor": 1.0 - glossy.get("glossinessFactor", 1.0)}


def base_color_factor(entry: Mapping[str, Any]) -> Factors:
    """Return the linear RGB that the base colour is multiplied by."""
    red, green, blue = metallic_roughness(entry).get("baseColorFactor", (1.0, 1.0, 1.0))[:3]
    return float(red), float(green), float(blue)


def metallic_factor(entry: Mapping[str, Any]) -> float:
    """Return metallic in 0..1, which multiplies the blue channel of the metallic-roughness texture."""
    return float(metallic_roughness(entry).get("metallicFactor", 1.0))


def roughness_factor(entry: Mapping[str, Any]) -> float:
    """Return roughness in 0..1, which multiplies the green channel of the metallic-roughness texture."""
    return float(metallic_roughness(entry).get("roughnessFactor", 1.0))


def emissive_factor(entry: Mapping[str, Any]) -> Factors:
    """Return the linear RGB that the emission is multiplied by, including its strength; black if nothing glows."""
    extension = entry.get("extensions", {}).get("KHR_materials_emissive_strength", {})
    strength = float(extension.get("emissiveStrength", 1.0))
    red, green, blue = entry.get("emissiveFactor", (0.0, 0.0, 0.0))
    return red * strength, green * strength, blue * strength


def normal_factor(entry: Mapping[str, Any]) -> Factors:
    """Return what the vectors of the normal map, in -1..1, are multiplied by."""
    scale = float(entry.get("normalTexture", {}).get("scale", 1.0))
    return scale, scale, 1.0


def reflects(entry: Mapping[str, Any]) -> bool:
    """Return whether a dielectric reflects at its boundary (KHR_materials_specular)."""
    return entry.get("extensions", {}).get("KHR_materials_specular", {}).get("specularFactor", 1.0) != 0


def simplified_reflection(entry: Mapping[str, Any]) -> str | None:
    """Return the extension that states reflections which our materials do not have; None without any."""
    extensions = entry.get("extensions", {})
    name = "KHR_materials_pbrSpecularGlossiness"
    if name in extensions:
        glossy = extensions[name]
        is_dielectric = np.allclose(glossy.get("specularFactor", (1, 1, 1)), DIELECTRIC, atol=0.01)
        return None if is_dielectric and "specularGlossinessTexture" not in glossy else name
    specular = extensions.get("KHR_materials_specular", {})
    is_plain = specular.get("specularFactor", 1) in (0, 1) and all(
        v == 1 for v in specular.get("specularColorFactor", ())
    )
    has_maps = "specularTexture" in specular or "specularColorTexture" in specular
    return None if is_plain and not has_maps else "KHR_materials_specular"


def is_unlit(entry: Mapping[str, Any]) -> bool:
    """Return whether the base colour is shown as it is, without lights (KHR_materials_unlit)."""
    return "KHR_materials_unlit" in entry.get("extensions", {})
