"""Options of quantities on a surface: uniform, per vertex, or a texture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Generic, Literal, TypeAlias

from pydantic import Field

from diffrender.config.options.base import Finding, OneOf, Strict, option
from diffrender.config.options.value_types import (
    Albedo,
    Color,
    Fraction,
    ImageFile,
    Pair,
    PositiveFloat,
    Seed,
    T,
)

Own: TypeAlias = Literal["own"]


class PerVertex(Strict, Generic[T]):
    """One value per vertex."""

    vertex: T = Field(description="initial value of every vertex")


class Pattern(Strict, Generic[T]):
    """Smooth patches of two values on a surface, independent of its texture coordinates."""

    between: Pair[T] = Field(description="the two values")
    size: PositiveFloat = option(0.3, "approximate size of a patch, in radii of the object")
    seed: Seed = option(0, "seed of the pattern")


class TextureOf(Strict, Generic[T]):
    """An image on the mesh, by texture coordinates."""

    texture: T = Field(
        description="an image file (colours in sRGB, numbers linear, normal maps as in glTF: green is up); own:"
        " the texture of the mesh file, or its colours, baked; a pattern; or the initial value of every texel"
    )
    resolution: int = option(256, "texels along each side, if `texture` is not a file", ge=1, le=16384)
    unwrap: bool | None = option(
        None,
        "whether to make new texture coordinates; if omitted: only if the mesh has none. Those of a file may"
        " overlap, for example on mirrored halves, which then share texels",
    )
    padding: int | None = option(
        None, "texels between charts if it is unwrapped; if omitted: 1/128 of `resolution`, at least 2", ge=0, le=256
    )
    from_vertices: bool = option(
        False,
        "whether it is learned as a value per vertex until the object is unwrapped after its last remeshing: quicker,"
        " and without seams, which remeshing cannot move freely. So is the base colour's texture of a shape from"
        " masks, unless the file says `false`",
    )

    def rules(self) -> Iterator[Finding]:
        """Yield what a texture cannot have that is learned at vertices first."""
        if self.from_vertices and isinstance(self.texture, str | Pattern):
            message = "`from_vertices` is for textures that start as one colour or number"
            yield Finding(("from_vertices",), message, ("remove it",))
        if self.from_vertices and self.unwrap is False:
            yield Finding(("unwrap",), "a texture with `from_vertices` is always unwrapped", ("remove it",))
        if self.from_vertices and self.padding is not None:
            yield Finding(("padding",), "a texture with `from_vertices` has the usual padding", ("remove it",))


SurfaceColor: TypeAlias = Annotated[
    Albedo | Own | PerVertex[Albedo] | TextureOf[Annotated[Albedo | Own | ImageFile | Pattern[Albedo], OneOf()]],
    OneOf(),
]
"""A colour: uniform; `own`, the colours or the texture of the mesh file; one per vertex; or a texture."""

SurfaceShare: TypeAlias = Annotated[
    Fraction | PerVertex[Fraction] | TextureOf[Annotated[Fraction | Own | ImageFile | Pattern[Fraction], OneOf()]],
    OneOf(),
]
"""A number in 0..1: uniform, one per vertex, or a texture."""

SurfaceNumber: TypeAlias = Annotated[PositiveFloat | PerVertex[PositiveFloat] | TextureOf[PositiveFloat], OneOf()]
"""A number above 0: uniform, one per vertex, or one per texel."""

SurfaceLight: TypeAlias = Annotated[
    Color | PerVertex[Color] | TextureOf[Annotated[Color | Own | ImageFile, OneOf()]], OneOf()
]
"""A radiance: uniform, one per vertex, or a texture."""

NormalMap: TypeAlias = Annotated[TextureOf[Annotated[Literal["flat"] | Own | ImageFile, OneOf()]], OneOf()]
"""Normals in the tangent frame, as a texture."""
