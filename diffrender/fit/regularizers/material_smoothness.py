"""Material smoothness: total variation of roughness, metallic and normal maps, relaxed where base colours change."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.errors import ConfigError
from diffrender.fit.objective import Regularizer
from diffrender.fit.regularizers.total_variation import Layouts, edge_steps, total_variation
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.quantity_kinds import NORMAL, NUMBER, RADIANCE, Kind, SurfaceValue, kinds_of, map_tensors
from diffrender.scene.scene import Scene
from diffrender.scene.textures.texture import Texture

# Lower bound of the sum of a colour, so that near-black colours have almost no chroma.
DARKEST = 0.02


@dataclass(frozen=True)
class MaterialSmoothness(Regularizer):
    """Total variation of all material fields except colours: roughness, metallic, specular, normal maps.

    Measured as in `color_smoothness`, for numbers without an upper bound (shininess) on their logarithm. A surface
    usually consists of few materials, and a material usually has one colour; shading changes brightness but hardly
    chroma. So where the chroma of the base colour changes, the other fields may change too. Normal maps are not
    compared across seams, where their tangent frames differ.

    chroma: the change of chroma (red, green and blue over their sum) that reduces the cost of other changes to 1/e; 0:
        the cost is the same everywhere.
    """

    chroma: float = 0.05

    def __post_init__(self) -> None:
        if not self.chroma >= 0:
            raise ConfigError(f"loss.material_smoothness: chroma must be at least 0, got {self.chroma}")

    def bind(self, start: Scene) -> Regularizer:
        """Return the regulariser over texels on the meshes only, which includes steps across their seams."""
        return _MaterialSmoothnessOn(self.chroma, Layouts())

    def __call__(self, scene: Scene) -> Tensor:
        """Return [], zero if each object has one material; for textures, over all texels, on the mesh or not."""
        return _MaterialSmoothnessOn(self.chroma, None)(scene)


@dataclass(frozen=True)
class _MaterialSmoothnessOn(Regularizer):
    chroma: float
    layouts: Layouts | None

    def __call__(self, scene: Scene) -> Tensor:
        total = scene.background.new_zeros(())
        for name, item in scene.objects.items():
            for quantity, value, kind in _quantities(item):
                measured = map_tensors(value, torch.log) if kind == NUMBER else value
                layout = None if self.layouts is None else self.layouts.of(f"{name}.{quantity}", item.mesh, value)
                if layout is not None and kind == NORMAL:
                    layout = layout._replace(seams=None)  # each chart has its own tangent frame
                variation = total_variation(item.mesh, measured, layout, self._weights(item, value))
                total = total if variation is None else total + variation
        return total

    @torch.no_grad()
    def _weights(self, item: Object, value: SurfaceValue) -> Tensor | None:
        """Return the weight of each difference, or None if all weights are equal."""
        if self.chroma == 0:
            return None
        changes = _chroma_changes(item.mesh, item.material.base_color, value)
        return None if changes is None else (-changes / self.chroma).exp()


def _quantities(item: Object) -> list[tuple[str, SurfaceValue, Kind]]:
    """Return (name, value, kind) of the fields to smooth."""
    kinds = kinds_of(item.material)
    fields = [(name, getattr(item.material, name), kind) for name, kind in kinds.items()]
    return [field for field in fields if field[0] != "base_color" and field[2] != RADIANCE and field[1] is not None]


def _chroma_changes(mesh: Mesh, color: SurfaceValue, like: SurfaceValue) -> Tensor | None:
    """Return how much the chroma of a colour changes between neighbours of `like`; None if the two differ in layout.

    For textures [2, H, W], from each texel to the one below and to the one on its right; for values of vertices [E].
    """
    if isinstance(color, Texture) and isinstance(like, Texture):
        chroma = _chroma(_resize(color.texels, like.texels.shape[0], like.texels.shape[1]))
        changes = chroma.new_zeros(2, *chroma.shape[:2])
        changes[0, :-1] = (chroma[1:] - chroma[:-1]).norm(dim=-1)
        changes[1, :, :-1] = (chroma[:, 1:] - chroma[:, :-1]).norm(dim=-1)
        return changes
    if isinstance(color, Texture) or isinstance(like, Texture) or color.dim() == 1:
        return None
    return edge_steps(mesh, _chroma(color)).norm(dim=-1)


def _resize(texels: Tensor, height: int, width: int) -> Tensor:
    if texels.shape[:2] == (height, width):
        return texels
    images = texels.permute(2, 0, 1)[None]
    return torch.nn.functional.interpolate(images, (height, width), mode="area")[0].permute(1, 2, 0)


def _chroma(color: Tensor) -> Tensor:
    return color / color.sum(-1, keepdim=True).clamp_min(DARKEST)
