"""Colour smoothness: total variation of base colours."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diffrender.fit.objective import Regularizer
from diffrender.fit.regularizers.total_variation import Layouts, total_variation
from diffrender.scene.scene import Scene


@dataclass(frozen=True)
class ColorSmoothness(Regularizer):
    """Total variation of base colours: favours few changes; sharp ones cost no more than gradual ones.

    For textures, over the texels on the mesh and across the seams of their charts, per width of the texture; for vertex
    colours along edges, per size of the mesh: a ramp from black to white costs about the same at any resolution.
    Uniform colours cost nothing. Summed over the objects.
    """

    def bind(self, start: Scene) -> Regularizer:
        """Return the regulariser over texels on the meshes only, which includes steps across their seams."""
        return _ColorSmoothnessOn(Layouts())

    def __call__(self, scene: Scene) -> Tensor:
        """Return [], zero if each object has one colour; for textures, over all texels, on the mesh or not."""
        return _total(scene, None)


@dataclass(frozen=True)
class _ColorSmoothnessOn(Regularizer):
    layouts: Layouts

    def __call__(self, scene: Scene) -> Tensor:
        return _total(scene, self.layouts)


def _total(scene: Scene, layouts: Layouts | None) -> Tensor:
    total = scene.background.new_zeros(())
    for name, item in scene.objects.items():
        color = item.material.base_color
        variation = total_variation(item.mesh, color, None if layouts is None else layouts.of(name, item.mesh, color))
        total = total if variation is None else total + variation
    return total
