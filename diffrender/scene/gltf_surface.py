"""GltfSurface: a material as glTF can store it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from diffrender.scene.quantity_kinds import COLOR, NORMAL, RADIANCE, SHARE, SurfaceValue, quantity


@dataclass(frozen=True)
class GltfSurface:
    """glTF's metallic-roughness material, or its unlit one.

    base_color: linear RGB in 0..1. metallic, roughness: in 0..1. normal: vectors in the tangent frame (along u, up in
        the image, outwards), or None. emissive: linear radiance, or None. Each is uniform [C], per vertex [V, C] or a
        Texture; C is 1 for metallic and roughness, otherwise 3.
    specular: whether a dielectric reflects at its boundary; False is ideally diffuse (KHR_materials_specular).
    unlit: whether base_color is shown as it is, without lights (KHR_materials_unlit).
    """

    base_color: SurfaceValue = quantity(COLOR, lambda: torch.ones(3))
    metallic: SurfaceValue = quantity(SHARE, lambda: torch.zeros(1))
    roughness: SurfaceValue = quantity(SHARE, lambda: torch.ones(1))
    normal: SurfaceValue | None = quantity(NORMAL)
    emissive: SurfaceValue | None = quantity(RADIANCE)
    specular: bool = True
    unlit: bool = False
