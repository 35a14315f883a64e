"""Radiance: emitted light plus the reflection of every light."""

from __future__ import annotations

from torch import Tensor

from diffrender.scene.light import Light
from diffrender.scene.material import Material
from diffrender.scene.shading_points import ShadingPoints


def radiance_of(surface: ShadingPoints, material: Material, lights: list[Light]) -> Tensor:
    """Return the [M, 3] linear radiance towards the camera: emitted, plus the material's reflection of every light."""
    total = material.emitted(surface)
    if material.needs_light:
        for light in lights:
            reflected = light.shade(surface, material)
            total = reflected if total is None else total + reflected
    if total is None:
        return surface.vertices_w.new_zeros(len(surface), 3)
    return total.expand(len(surface), 3)
