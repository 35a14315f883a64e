"""How a scene file writes a quantity on a surface: one value for all, one a vertex, or an image."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, Field

from diffrender.config.options.fields import Albedo, Color, File, OneOf, PositiveFloat, Strict

Share = Annotated[float, Field(ge=0, le=1)]
"""A number in 0..1."""
WORDS = ("black", "white", "flat")


class Pattern(Strict):
    """Base of smooth patches of two values all over a surface, whatever its texture coordinates."""

    between: Any
    size: PositiveFloat = Field(default=0.3, description="about that of a patch, in radii of the object")
    seed: int = Field(default=0, ge=0, le=2**32 - 1, description="which pattern")


class TextureForm(Strict):
    """Base of what lies on a mesh by its texture coordinates."""

    texture: Any
    resolution: int = Field(
        default=256, ge=1, le=16384, description="texels along each side, where `texture` is no file"
    )
    unwrap: bool | None = Field(
        default=None,
        description="whether to make texture coordinates; left out: where the mesh has none. A file's own ones may lie"
        " over each other, as those of mirrored halves: such texels cannot be learned apart",
    )
    padding: int | None = Field(
        default=None,
        ge=0,
        le=256,
        description="texels between charts where it is unwrapped; left out: 1/128, at least 2",
    )


class VertexForm(Strict):
    """Base of what each vertex has its own of."""

    vertex: Any


def _pick_texture(value: Any) -> str:
    if value == "own":
        return "own"
    if isinstance(value, dict | Pattern):
        return "pattern"
    return "file" if isinstance(value, str) and value not in WORDS else "value"


def _pick_form(value: Any) -> str | None:
    fields = (
        set(type(value).model_fields) if isinstance(value, BaseModel) else set(value) if isinstance(value, dict) else ()
    )
    for form in ("vertex", "texture"):
        if form in fields:
            return form
    if value == "own":
        return "own"
    return None if isinstance(value, dict) else "value"


def _forms(value: str, has_own: bool = False) -> OneOf:
    own = ("own",) if has_own else ()
    texture = ("{texture: file.png}", f"{{texture: {value}, resolution: 256}}")
    return OneOf(("value", *own, "vertex", "texture"), _pick_form, (value, *own, f"{{vertex: {value}}}", *texture))


class VertexColors(VertexForm):
    """One colour a vertex."""

    vertex: Albedo = Field(description="the colour that every vertex starts with")


class ColorPattern(Pattern):
    """Patches of two colours."""

    between: tuple[Albedo, Albedo] = Field(strict=False, description="the two colours")


class TextureColors(TextureForm):
    """An image on the mesh, by its texture coordinates."""

    texture: Annotated[
        File | Literal["own"] | Albedo | ColorPattern,
        OneOf(
            ("file", "own", "value", "pattern"),
            _pick_texture,
            ("file.png", "own", "a colour", "{between: [a colour, a colour]}"),
        ),
    ] = Field(
        description="an image file; own: the mesh's colours, baked; the colour of every texel at the start; a pattern"
    )


SurfaceColor: TypeAlias = Annotated[
    Albedo | Literal["own"] | VertexColors | TextureColors, _forms("a colour", has_own=True)
]
"""Uniform; `own`, the colours or the texture of the mesh file; one a vertex; or a texture."""


class VertexShares(VertexForm):
    """One number in 0..1 a vertex."""

    vertex: Share = Field(description="the number that every vertex starts with")


class SharePattern(Pattern):
    """Patches of two numbers."""

    between: tuple[Share, Share] = Field(strict=False, description="the two numbers")


class TextureShares(TextureForm):
    """A gray image on the mesh."""

    texture: Annotated[
        File | Literal["own"] | Share | SharePattern,
        OneOf(
            ("file", "own", "value", "pattern"),
            _pick_texture,
            ("file.png", "own", "a number in 0..1", "{between: [a number, a number]}"),
        ),
    ] = Field(
        description="an image file whose values are taken as they stand (not sRGB); own: that of the mesh file; the"
        " number that every texel starts with; a pattern"
    )


SurfaceShare: TypeAlias = Annotated[Share | VertexShares | TextureShares, _forms("a number in 0..1")]
"""A number in 0..1: uniform, one a vertex, or a texture."""


class VertexNumbers(VertexForm):
    """One number above 0 a vertex."""

    vertex: PositiveFloat = Field(description="the number that every vertex starts with")


class TextureNumbers(TextureForm):
    """One number above 0 a texel."""

    texture: PositiveFloat = Field(description="the number that every texel starts with")


SurfaceNumber: TypeAlias = Annotated[
    PositiveFloat | VertexNumbers | TextureNumbers,
    OneOf(
        ("value", "vertex", "texture"),
        _pick_form,
        ("a number above 0", "{vertex: a number}", "{texture: a number, resolution: 256}"),
    ),
]
"""A number above 0: uniform, one a vertex, or one a texel."""


class VertexLight(VertexForm):
    """One radiance a vertex."""

    vertex: Color = Field(description="the radiance that every vertex starts with")


class TextureLight(TextureForm):
    """An image of radiance on the mesh."""

    texture: Annotated[
        File | Literal["own"] | Color,
        OneOf(("file", "own", "value"), _pick_texture, ("file.png", "own", "a colour")),
    ] = Field(description="an image file; own: the glow of the mesh file; or the radiance that every texel starts with")


SurfaceLight: TypeAlias = Annotated[Color | VertexLight | TextureLight, _forms("a colour")]
"""A radiance: uniform, one a vertex, or a texture."""


class TextureNormals(TextureForm):
    """A normal map."""

    texture: Annotated[
        File | Literal["own"] | Literal["flat"],
        OneOf(("file", "own", "value"), _pick_texture, ("a normal map, file.png", "own", "flat")),
    ] = Field(
        description="a normal map as glTF has them (green is up); own: that of the mesh file; `flat` to start from"
    )


NormalMap: TypeAlias = Annotated[
    TextureNormals,
    OneOf(("texture",), _pick_form, ("{texture: normals.png}", "{texture: flat, resolution: 256}")),
]
"""Normals in the tangent frame, as a texture."""
