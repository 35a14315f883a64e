"""Total variation of base colours."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from diffrender.fit.objective import Regularizer
from diffrender.fit.regularizers.total_variation import Layouts, steps_of, variation
from diffrender.scene.scene import Scene


@dataclass(frozen=True)
class ColorSmoothness(Regularizer):
    """Total variation of base colours: few changes, but sharp ones cost no more than gradual ones.

    Of textures, over the texels that lie on the mesh and across the seams of their charts, per width of the texture; of
    vertex colours along edges, per size of the mesh: a ramp from black to white counts about the same at any
    resolution. Uniform colours count nothing. Summed over the objects.
    """

    def bind(self, start: Scene) -> Regularizer:
        """The same, counting only texels that lie on the meshes, and steps across their seams."""
        return _ColorSmoothnessOn(Layouts())

    def __call__(self, scene: Scene) -> Tensor:
        """[] zero where each object has one colour; of textures, over all texels, on the mesh or not."""
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
        steps = steps_of(item.mesh, color, None if layouts is None else layouts.of(name, item.mesh, color))
        total = total if steps is None else total + variation(steps)
    return total
