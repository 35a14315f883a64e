"""The options of each material."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from diffrender.config.options.base import OneOf, Strict, option
from diffrender.config.options.material_inputs import NormalMap, SurfaceColor, SurfaceLight, SurfaceNumber, SurfaceShare
from diffrender.config.scene_dependent_defaults import GRAY

Normal: TypeAlias = Annotated[NormalMap | None, Field(description="a normal map")]


class MaterialOptions(Strict, shorthands={str: "type"}):
    """Base of the materials' options.

    needs_light: as of the material.
    """

    needs_light: ClassVar[bool] = True

    base_color: SurfaceColor | None = option(
        None, f"linear RGB in 0..1; if omitted: the mesh's own colours, or {GRAY[0]:g} at every vertex"
    )


class LambertOptions(MaterialOptions):
    """Ideal diffuse reflection."""

    type: Literal["lambert"] = "lambert"
    normal: Normal = None


class PhongOptions(MaterialOptions):
    """A diffuse base under a normalized Blinn-Phong highlight."""

    type: Literal["phong"] = "phong"
    specular: SurfaceColor = option((0.1, 0.1, 0.1), "colour of the highlight, linear RGB in 0..1")
    shininess: SurfaceNumber = option(32.0, "exponent of the highlight: 10 dull, 1000 a mirror")
    normal: Normal = None


class GgxOptions(MaterialOptions):
    """The metallic-roughness material of glTF."""

    type: Literal["ggx"] = "ggx"
    metallic: SurfaceShare = option(0.0, "0 for plastics, 1 for metals")
    roughness: SurfaceShare = option(0.5, "0 for a mirror, 1 for chalk")
    normal: Normal = None
    emissive: SurfaceLight | None = option(None, "radiance that the surface emits")


class UnlitOptions(MaterialOptions):
    """Colour that does not depend on light."""

    needs_light: ClassVar[bool] = False

    type: Literal["unlit"] = "unlit"


AnyMaterial: TypeAlias = Annotated[LambertOptions | PhongOptions | GgxOptions | UnlitOptions, OneOf("type")]
