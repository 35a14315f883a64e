"""Total variation of base colours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from diffrender.fit.objective import Regularizer
from diffrender.fit.regularizers.variation import covered_texels, steps_of, variation
from diffrender.scene.material import Material, SurfaceValue
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene


@dataclass(frozen=True)
class ColorSmoothness(Regularizer):
    """Total variation of base colours: few changes, but sharp ones cost no more than gradual ones.

    Of textures, over the texels that lie on the mesh, per width of the texture; of vertex colours along edges, per size
    of the mesh: a ramp from black to white counts about the same at any resolution. Uniform colours count nothing.
    Summed over the objects.
    """

    def bound_to(self, start: Scene) -> Regularizer:
        """The same, knowing which texels lie on the meshes of `start`."""
        covered = {name: covered_texels(item.mesh, base_color(item.material)) for name, item in start.objects.items()}
        return _ColorSmoothnessOn(covered)

    def __call__(self, scene: Scene) -> Tensor:
        """[] zero where each object has one colour; of textures, over all texels, on the mesh or not."""
        return _ColorSmoothnessOn({})(scene)


@dataclass(frozen=True)
class _ColorSmoothnessOn(Regularizer):
    covered: Mapping[str, Tensor | None]

    def __call__(self, scene: Scene) -> Tensor:
        variations = [_variation(item, self.covered.get(name)) for name, item in scene.objects.items()]
        return sum(variations, scene.background.new_zeros(()))


def _variation(item: Object, covered: Tensor | None) -> Tensor:
    color = base_color(item.material)
    steps = None if color is None else steps_of(item.mesh, color, covered)
    return item.mesh.vertices.new_zeros(()) if steps is None else variation(steps)


def base_color(material: Material) -> SurfaceValue | None:
    """The base colour of a material, which every one on the shelf has."""
    return getattr(material, "base_color", None)
