"""Smoothness of roughness, metallic and normal maps, but for where the base colour changes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrender.errors import ConfigError
from diffrender.fit.objective import Regularizer
from diffrender.fit.regularizers.total_variation import Layouts, edge_steps, steps_of, texel_steps, variation
from diffrender.scene.fields import NORMAL, NUMBER, RADIANCE, Kind, SurfaceValue, kinds_of, map_tensors
from diffrender.scene.mesh import Mesh
from diffrender.scene.object import Object
from diffrender.scene.scene import Scene
from diffrender.scene.textures.texture import Texture

# A colour darker than this has no chroma to speak of.
DARKEST = 0.02


@dataclass(frozen=True)
class MaterialSmoothness(Regularizer):
    """Total variation of everything about a material but its colours: roughness, metallic, specular, normal maps.

    Counted as `color_smoothness` does, and numbers without an upper end (shininess) by their logarithm. One surface is
    usually of few materials, and one material usually of one colour; shading changes brightness but hardly chroma. So
    where the chroma of the base colour changes, the rest may change too. Normal maps are not compared across seams:
    there the frames change that their vectors are written in.

    chroma: a change of chroma (red, green and blue over their sum) by this much lets the others change at 1/e of the
        cost; 0: the cost is the same everywhere.
    """

    chroma: float = 0.05

    def __post_init__(self) -> None:
        if not self.chroma >= 0:
            raise ConfigError(f"loss.material_smoothness: chroma must be at least 0, got {self.chroma}")

    def bind(self, start: Scene) -> Regularizer:
        """The same, counting only texels that lie on the meshes, and steps across their seams."""
        return _MaterialSmoothnessOn(self.chroma, Layouts())

    def __call__(self, scene: Scene) -> Tensor:
        """[] zero where each object is of one material; of textures, over all texels, on the mesh or not."""
        return _MaterialSmoothnessOn(self.chroma, None)(scene)


@dataclass(frozen=True)
class _MaterialSmoothnessOn(Regularizer):
    chroma: float
    layouts: Layouts | None

    def __call__(self, scene: Scene) -> Tensor:
        total = scene.background.new_zeros(())
        for name, item in scene.objects.items():
            for quantity, value, kind in _quantities(item):
                counted = map_tensors(value, torch.log) if kind == NUMBER else value
                layout = None if self.layouts is None else self.layouts.of(f"{name}.{quantity}", item.mesh, value)
                if layout is not None and kind == NORMAL:
                    layout = layout._replace(seams=None)  # each chart has a tangent frame of its own
                steps = steps_of(item.mesh, counted, layout)
                if steps is not None:
                    total = total + variation(steps, self._weights(item, value))
        return total

    @torch.no_grad()
    def _weights(self, item: Object, value: SurfaceValue) -> tuple[Tensor, ...] | None:
        """How much each difference counts; None where that is the same for all."""
        if self.chroma == 0:
            return None
        changes = _chroma_steps(item.mesh, item.material.base_color, value)
        return None if changes is None else tuple((-change.norm(dim=-1) / self.chroma).exp() for change in changes)


def _quantities(item: Object) -> list[tuple[str, SurfaceValue, Kind]]:
    """(name, value, kind) of what is smoothed."""
    kinds = kinds_of(item.material)
    found = [(name, getattr(item.material, name), kind) for name, kind in kinds.items()]
    return [each for each in found if each[0] != "base_color" and each[2] != RADIANCE and each[1] is not None]


def _chroma_steps(mesh: Mesh, color: SurfaceValue, like: SurfaceValue) -> tuple[Tensor, ...] | None:
    """The changes of a colour's chroma between the neighbours of `like`; None where the two do not lie alike."""
    if isinstance(color, Texture) and isinstance(like, Texture):
        return texel_steps(_chroma(_resize(color.texels, like.texels.shape[0], like.texels.shape[1])))
    if isinstance(color, Texture) or isinstance(like, Texture) or color.dim() == 1:
        return None
    return (edge_steps(mesh, _chroma(color)),)


def _resize(texels: Tensor, height: int, width: int) -> Tensor:
    if texels.shape[:2] == (height, width):
        return texels
    images = texels.permute(2, 0, 1)[None]
    return torch.nn.functional.interpolate(images, (height, width), mode="area")[0].permute(1, 2, 0)


def _chroma(color: Tensor) -> Tensor:
    return color / color.sum(-1, keepdim=True).clamp_min(DARKEST)
