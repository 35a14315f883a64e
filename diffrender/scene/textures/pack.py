"""Textures that are looked up together: where one texel of each lies beside that of the others in memory."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor

from diffrender.ops.mip_pyramid import MipPyramid, mip_pyramid
from diffrender.ops.sample_texture import sample_texture
from diffrender.scene.fields import textures_of
from diffrender.scene.textures.texture import Texture

Holder = TypeVar("Holder")


@dataclass(frozen=True, eq=False)
class TexturePack:
    """Textures of one size, as one of all their channels.

    pyramid: its mip levels. sizes: channels of each texture, in order. wrap: as Texture's.
    """

    pyramid: MipPyramid
    sizes: tuple[int, ...]
    wrap: str

    def sample(self, uv: Tensor, footprint: Tensor, *, backend: str | None = None) -> tuple[Tensor, ...]:
        """[M, C] values of each texture, as Texture.sample gives them."""
        return sample_texture(self.pyramid, uv, footprint, self.wrap, backend=backend).split(list(self.sizes), 1)


@dataclass(frozen=True)
class PackedTexture(Texture):
    """A texture that is also number `index` of a pack."""

    pack: TexturePack | None = None
    index: int = 0


def pack_textures(holder: Holder, backend: str | None) -> Holder:
    """A dataclass whose textures of one size are packed, and have their mip levels; differentiable in all texels.

    An image looks each texture up several times; what all look-ups share is worked out once.
    """
    groups: dict[tuple[Any, ...], list[str]] = {}
    for name, texture in textures_of(holder).items():
        kind = (texture.texels.shape[:2], texture.wrap, texture.texels.dtype, texture.texels.device)
        groups.setdefault(kind, []).append(name)
    changes: dict[str, Texture] = {}
    for names in groups.values():
        textures = [getattr(holder, name) for name in names]
        sizes = tuple(each.texels.shape[2] for each in textures)
        pyramid = mip_pyramid([each.texels for each in textures], backend=backend)
        pack = TexturePack(pyramid, sizes, textures[0].wrap)
        for index, (name, texture) in enumerate(zip(names, textures, strict=True)):
            changes[name] = PackedTexture(texture.texels, texture.wrap, pack, index)
    return dataclasses.replace(holder, **changes) if changes else holder  # type: ignore[type-var]
