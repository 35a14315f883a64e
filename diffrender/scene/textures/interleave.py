"""Texture packing: textures that are sampled together, with their texels interleaved in memory."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor

from diffrender.ops.mip_pyramid import MipPyramid, mip_pyramid
from diffrender.ops.sample_texture import sample_texture
from diffrender.scene.quantity_kinds import textures_of
from diffrender.scene.textures.texture import Texture

Holder = TypeVar("Holder")


@dataclass(frozen=True, eq=False)
class TexturePack:
    """Textures of one size as one texture of all their channels.

    pyramid: its mip levels. sizes: channels of each texture, in order. wrap: as of Texture.
    """

    pyramid: MipPyramid
    sizes: tuple[int, ...]
    wrap: str

    def sample(self, uv: Tensor, footprint: Tensor, *, backend: str | None = None) -> tuple[Tensor, ...]:
        """Return the [M, C] values of each texture, as Texture.sample does."""
        return sample_texture(self.pyramid, uv, footprint, self.wrap, backend=backend).split(list(self.sizes), 1)


@dataclass(frozen=True)
class PackedTexture(Texture):
    """A texture that is also texture number `index` of a pack."""

    pack: TexturePack | None = None
    index: int = 0


def pack_textures(holder: Holder, backend: str | None) -> Holder:
    """Return a dataclass with its textures of equal size packed, with mip levels; differentiable in all texels.

    An image samples each texture several times; what all samples share is computed once.
    """
    groups: dict[tuple[Any, ...], list[str]] = {}
    for name, texture in textures_of(holder).items():
        kind = (texture.texels.shape[:2], texture.wrap, texture.texels.dtype, texture.texels.device)
        groups.setdefault(kind, []).append(name)
    changes: dict[str, Texture] = {}
    for names in groups.values():
        textures = [getattr(holder, name) for name in names]
        sizes = tuple(texture.texels.shape[2] for texture in textures)
        pyramid = mip_pyramid([texture.texels for texture in textures], backend=backend)
        pack = TexturePack(pyramid, sizes, textures[0].wrap)
        for index, (name, texture) in enumerate(zip(names, textures, strict=True)):
            changes[name] = PackedTexture(texture.texels, texture.wrap, pack, index)
    return dataclasses.replace(holder, **changes) if changes else holder  # type: ignore[type-var]
