"""The options of every entry of the shelves, as a scene file writes them.

The tables of the shelves themselves hold tensors, and reading them would import torch; a test keeps the two alike.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from diffrender.config.kinds import (
    Color,
    Direction,
    File,
    Named,
    OneOf,
    PositiveFloat,
    Strict,
    Vector,
    Weight,
    is_number,
    wanted,
)
from diffrender.config.surface_values import NormalMap, SurfaceColor, SurfaceLight, SurfaceNumber, SurfaceShare


class MaterialOptions(Named):
    """Base of the materials' options."""

    word_key: ClassVar[str | None] = "type"
    base_color: SurfaceColor | None = Field(
        default=None, description="linear RGB in 0..1; left out: the mesh's own colours, or 0.5 at every vertex"
    )


class LambertOptions(MaterialOptions):
    """Ideal diffuse reflection."""

    type: Literal["lambert"] = "lambert"
    normal: NormalMap | None = Field(default=None, description="a normal map")


class PhongOptions(MaterialOptions):
    """A diffuse base under a normalised Blinn-Phong highlight."""

    type: Literal["phong"] = "phong"
    specular: SurfaceColor = Field(default=(0.1, 0.1, 0.1), description="colour of the highlight, linear RGB in 0..1")
    shininess: SurfaceNumber = Field(default=32.0, description="exponent of the highlight: 10 dull, 1000 a mirror")
    normal: NormalMap | None = Field(default=None, description="a normal map")


class GgxOptions(MaterialOptions):
    """glTF's metallic-roughness material."""

    type: Literal["ggx"] = "ggx"
    metallic: SurfaceShare = Field(default=0.0, description="0 for plastics, 1 for metals")
    roughness: SurfaceShare = Field(default=0.5, description="0 for a mirror, 1 for chalk")
    normal: NormalMap | None = Field(default=None, description="a normal map")
    emissive: SurfaceLight | None = Field(default=None, description="radiance that the surface sends out by itself")


class UnlitOptions(MaterialOptions):
    """Colour that does not depend on light."""

    type: Literal["unlit"] = "unlit"


MATERIAL_OPTIONS = {"lambert": LambertOptions, "phong": PhongOptions, "ggx": GgxOptions, "unlit": UnlitOptions}

Frame: TypeAlias = Annotated[
    Literal["world", "camera"],
    Field(description="what the light is fixed to; camera: it goes with each camera, in its axes (x right, y down)"),
]


class RotationOptions(Strict):
    """A turn about an axis."""

    axis: Direction = Field(description="need not be unit")
    degrees: float = Field(description="counter-clockwise seen against the axis")


class LightOptions(Named):
    """Base of the lights' options."""

    word_key: ClassVar[str | None] = "type"
    name: str | None = Field(
        default=None, min_length=1, pattern=r"^[^.\s]+$", description="a name, for `optimize:`; left out: the type"
    )


class AmbientOptions(LightOptions):
    """The same light from everywhere."""

    type: Literal["ambient"] = "ambient"
    radiance: Color = Field(default=(1.0, 1.0, 1.0), description="linear RGB")


class DirectionalOptions(LightOptions):
    """Light from very far away."""

    type: Literal["directional"] = "directional"
    direction: Direction = Field(default=(0.0, -1.0, 0.0), description="the way the light travels")
    radiance: Color = Field(
        default=(1.0, 1.0, 1.0), description="linear RGB; a white surface that faces it reflects 1/pi of it"
    )
    frame: Frame = "world"


class PointOptions(LightOptions):
    """A bare bulb."""

    type: Literal["point"] = "point"
    position: Vector = Field(default=(0.0, 2.0, 0.0), description="where it is")
    intensity: Color = Field(default=(1.0, 1.0, 1.0), description="linear RGB; falls off with the squared distance")
    frame: Frame = "world"


ConeAngle: TypeAlias = Annotated[float, Field(gt=0, le=89)]
"""Degrees between a cone and its axis."""


class SpotOptions(LightOptions):
    """A torch."""

    type: Literal["spot"] = "spot"
    position: Vector = Field(default=(0.0, 2.0, 0.0), description="where it is")
    direction: Direction = Field(default=(0.0, -1.0, 0.0), description="the way its cone points")
    intensity: Color = Field(default=(1.0, 1.0, 1.0), description="linear RGB; falls off with the squared distance")
    inner_deg: ConeAngle = Field(default=20.0, description="up to this angle from the axis it is at its full")
    outer_deg: ConeAngle = Field(default=30.0, description="from this angle on there is nothing")
    frame: Frame = "world"


def _coefficients(value: Any) -> Any:
    rows = value if isinstance(value, list | tuple) else []
    fits = all(isinstance(row, list | tuple) and len(row) == 3 and all(map(is_number, row)) for row in rows)
    if len(rows) not in (9, 16) or not fits:
        raise wanted("9 or 16 rows [r, g, b]")
    return tuple(tuple(float(item) for item in row) for row in rows)


class SphericalHarmonicsOptions(LightOptions):
    """A smooth sky of a few coefficients."""

    type: Literal["spherical_harmonics"] = "spherical_harmonics"
    coefficients: Annotated[tuple[Any, ...], BeforeValidator(_coefficients)] | None = Field(
        default=None, description="9 or 16 rows [r, g, b], z polar; left out: radiance 1 everywhere"
    )
    order: Literal[2, 3] = Field(default=2, description="9 or 16 coefficients, where they are left out")
    frame: Frame = "world"


def _pick_map(value: Any) -> str:
    return "file" if isinstance(value, str) and value not in ("black", "white") else "color"


def _map_height(value: int | None) -> int | None:
    if value is not None and value % 16:
        raise wanted("a multiple of 16")
    return value


class EnvironmentOptions(LightOptions):
    """A sky as a lat-long image."""

    type: Literal["environment"] = "environment"
    radiance: Annotated[File | Color, OneOf(("file", "color"), _pick_map, ("sky.hdr", "a colour"))] = Field(
        default=(1.0, 1.0, 1.0), description="a lat-long image (its middle is at +x), or a colour to start from"
    )
    resolution: Annotated[int | None, Field(ge=16, le=2048), AfterValidator(_map_height)] = Field(
        default=None, description="rows of the map, half its columns; left out: the file's own, or 32"
    )
    rotation: RotationOptions | None = Field(default=None, description="{axis: [x, y, z], degrees: a}")
    frame: Frame = "world"


LIGHT_OPTIONS = {
    "ambient": AmbientOptions,
    "directional": DirectionalOptions,
    "point": PointOptions,
    "spot": SpotOptions,
    "spherical_harmonics": SphericalHarmonicsOptions,
    "environment": EnvironmentOptions,
}


Sigma: TypeAlias = Annotated[float, Field(ge=0.5)]
"""Width of soft edges in pixels."""


class EdgeOptions(Named):
    """Base of the edge models' options."""

    word_key: ClassVar[str | None] = "type"


class AntialiasOptions(EdgeOptions):
    """Silhouettes of a box filter one pixel wide, with the gradient of their motion."""

    type: Literal["antialias"] = "antialias"
    samples: int = Field(default=4, ge=1, le=16, description="points along each side of a pixel on an outline")


class HardOptions(EdgeOptions):
    """Whole pixels; no gradients from silhouettes."""

    type: Literal["hard"] = "hard"


class AnnealOptions(Strict):
    """How soft edges sharpen during the fit."""

    sigma: tuple[Sigma, Sigma] | None = Field(
        default=None,
        strict=False,
        description="first and last sigma in pixels; left out: from `sigma` of the edges to 0.5",
    )
    until: int | None = Field(
        default=None, ge=1, description="the step from which on `then` holds; left out: half of the steps"
    )
    then: Literal["antialias", "soft"] = Field(
        default="antialias", description="the edges after that, and of scores and pictures; soft: of the last sigma"
    )


class SoftOptions(EdgeOptions):
    """The antialiased image blurred, for a wide basin; sharpens during the fit."""

    type: Literal["soft"] = "soft"
    sigma: Sigma | None = Field(
        default=None, description="blur in pixels, 0.5 for none; left out: 1/32 of the image's shorter side"
    )
    samples: int = Field(default=4, ge=1, le=16, description="points along each side of a pixel on an outline")
    anneal: AnnealOptions = Field(default=AnnealOptions(), description="how they sharpen during the fit")


EDGE_OPTIONS = {"antialias": AntialiasOptions, "hard": HardOptions, "soft": SoftOptions}


class TermOptions(Named):
    """Base of the options of one term of the loss."""

    number_key: ClassVar[str | None] = "weight"
    weight: Weight = Field(default=1.0, description="what the term is multiplied with")


class ImageLossOptions(TermOptions):
    """Base of the options of losses between images."""

    word_key: ClassVar[str | None] = "type"
    space: Literal["srgb", "linear", "log"] = Field(
        default="srgb",
        description="the colour space in which images are compared; log: log(1 + x), for targets far above 1",
    )


class L1Options(ImageLossOptions):
    """Mean absolute difference."""

    type: Literal["l1"] = "l1"


class L2Options(ImageLossOptions):
    """Mean squared difference."""

    type: Literal["l2"] = "l2"


class HuberOptions(ImageLossOptions):
    """Squared for small differences, absolute for large ones."""

    type: Literal["huber"] = "huber"
    delta: PositiveFloat = Field(default=0.1, description="the difference from which on it is absolute")


class PyramidOptions(ImageLossOptions):
    """Another loss at several resolutions."""

    type: Literal["pyramid"] = "pyramid"
    of: Literal["l1", "l2", "huber"] = Field(default="l1", description="the loss at each resolution")
    levels: int = Field(default=4, ge=1, le=16, description="how many resolutions, each half of the one before")


IMAGE_LOSS_OPTIONS = {"l1": L1Options, "l2": L2Options, "huber": HuberOptions, "pyramid": PyramidOptions}


class MaskIouOptions(TermOptions):
    """One minus intersection over union of the silhouettes."""

    word_key: ClassVar[str | None] = "type"
    type: Literal["mask_iou"] = "mask_iou"


class MaskL1Options(TermOptions):
    """Mean absolute difference of the silhouettes, over the whole image."""

    word_key: ClassVar[str | None] = "type"
    type: Literal["l1"] = "l1"


MASK_LOSS_OPTIONS = {"mask_iou": MaskIouOptions, "l1": MaskL1Options}


class BufferLossOptions(TermOptions):
    """Between images of normals or of depths, for targets that have them."""

    word_key: ClassVar[str | None] = "type"
    type: Literal["l1", "l2", "huber"] = Field(default="l1", description="the cost of a difference")


class LaplacianOptions(TermOptions):
    """Vertices near the mean of their neighbours: little curvature, even triangles."""


class BilaplacianOptions(TermOptions):
    """Curvature near that of the neighbours: no noise, and bulges may stay."""


class NormalConsistencyOptions(TermOptions):
    """Neighbouring faces that look the same way."""


class EdgeLengthOptions(TermOptions):
    """Edges of equal length."""


class ArapOptions(TermOptions):
    """As rigid as possible: every neighbourhood keeps the shape that it starts with, but may turn."""


class SymmetryOptions(TermOptions):
    """The mirror image of the surface lies on the surface."""

    normal: Direction = Field(
        default=(1.0, 0.0, 0.0), description="of the mirror plane, in the object's own frame; need not be unit"
    )
    point: Vector = Field(default=(0.0, 0.0, 0.0), description="a point of the plane, in the object's own frame")


REGULARIZER_OPTIONS = {
    "laplacian": LaplacianOptions,
    "bilaplacian": BilaplacianOptions,
    "normal_consistency": NormalConsistencyOptions,
    "edge_length": EdgeLengthOptions,
    "arap": ArapOptions,
    "symmetry": SymmetryOptions,
}


class ScheduleOptions(Named):
    """Base of the learning-rate schedules' options."""

    word_key: ClassVar[str | None] = "type"


class ConstantOptions(ScheduleOptions):
    """The same learning rate at every step."""

    type: Literal["constant"] = "constant"


class CosineOptions(ScheduleOptions):
    """Half a cosine wave down to `final` times the learning rate."""

    type: Literal["cosine"] = "cosine"
    final: float = Field(default=0.0, ge=0, le=1, description="the last learning rate, as a fraction of lr")


class ExponentialOptions(ScheduleOptions):
    """Down by the same factor at each step, to `final` times the learning rate."""

    type: Literal["exponential"] = "exponential"
    final: float = Field(default=0.1, gt=0, le=1, description="the last learning rate, as a fraction of lr")


SCHEDULE_OPTIONS = {"constant": ConstantOptions, "cosine": CosineOptions, "exponential": ExponentialOptions}

Material: TypeAlias = Annotated[
    LambertOptions | PhongOptions | GgxOptions | UnlitOptions, OneOf.by_key(MATERIAL_OPTIONS)
]
Light: TypeAlias = Annotated[
    AmbientOptions | DirectionalOptions | PointOptions | SpotOptions | SphericalHarmonicsOptions | EnvironmentOptions,
    OneOf.by_key(LIGHT_OPTIONS),
]
Edges: TypeAlias = Annotated[
    AntialiasOptions | HardOptions | SoftOptions, OneOf.by_key(EDGE_OPTIONS, otherwise="antialias")
]
ImageLoss: TypeAlias = Annotated[
    L1Options | L2Options | HuberOptions | PyramidOptions, OneOf.by_key(IMAGE_LOSS_OPTIONS, otherwise="l1")
]
MaskLoss: TypeAlias = Annotated[MaskIouOptions | MaskL1Options, OneOf.by_key(MASK_LOSS_OPTIONS, otherwise="mask_iou")]
Schedule: TypeAlias = Annotated[
    ConstantOptions | CosineOptions | ExponentialOptions, OneOf.by_key(SCHEDULE_OPTIONS, otherwise="constant")
]
