"""The options of every entry of the shelves, as a scene file writes them.

The tables of the shelves themselves hold tensors, and reading them would import torch; a test keeps the two alike.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from diffrender.config.options.fields import Named, NonzeroVector, OneOf, PositiveFloat, Strict, Vector, Weight
from diffrender.config.options.material_inputs import NormalMap, SurfaceColor, SurfaceLight, SurfaceNumber, SurfaceShare


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


Sigma: TypeAlias = Annotated[float, Field(ge=0.5)]
"""Width of soft edges in pixels."""


class EdgeOptions(Named):
    """Base of the edge models' options."""

    word_key: ClassVar[str | None] = "type"


class AntialiasOptions(EdgeOptions):
    """Silhouettes of a box filter one pixel wide, with the gradient of their motion."""

    type: Literal["antialias"] = "antialias"
    samples: int = Field(default=4, ge=1, le=16, description="a pixel on an outline is the mean of samples^2 points")


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
    samples: int = Field(default=4, ge=1, le=16, description="a pixel on an outline is the mean of samples^2 points")
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

    normal: NonzeroVector = Field(
        default=(1.0, 0.0, 0.0), description="of the mirror plane, in the object's own frame; need not be unit"
    )
    point: Vector = Field(default=(0.0, 0.0, 0.0), description="a point of the plane, in the object's own frame")


class ColorSmoothnessOptions(TermOptions):
    """Total variation of base colours."""


class MaterialSmoothnessOptions(TermOptions):
    """Total variation of roughness, metallic and normal maps."""

    chroma: float = Field(
        default=0.05,
        ge=0,
        description="a change of the base colour's chroma by this much lets the others change at 1/e of the cost;"
        " 0: the cost is the same everywhere",
    )


class WhiteLightOptions(TermOptions):
    """Gray lights."""


REGULARIZER_OPTIONS = {
    "laplacian": LaplacianOptions,
    "bilaplacian": BilaplacianOptions,
    "normal_consistency": NormalConsistencyOptions,
    "edge_length": EdgeLengthOptions,
    "arap": ArapOptions,
    "symmetry": SymmetryOptions,
    "color_smoothness": ColorSmoothnessOptions,
    "material_smoothness": MaterialSmoothnessOptions,
    "white_light": WhiteLightOptions,
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

AnyMaterial: TypeAlias = Annotated[
    LambertOptions | PhongOptions | GgxOptions | UnlitOptions, OneOf.by_key(MATERIAL_OPTIONS)
]
AnyEdges: TypeAlias = Annotated[
    AntialiasOptions | HardOptions | SoftOptions, OneOf.by_key(EDGE_OPTIONS, otherwise="antialias")
]
ImageLoss: TypeAlias = Annotated[
    L1Options | L2Options | HuberOptions | PyramidOptions, OneOf.by_key(IMAGE_LOSS_OPTIONS, otherwise="l1")
]
MaskLoss: TypeAlias = Annotated[MaskIouOptions | MaskL1Options, OneOf.by_key(MASK_LOSS_OPTIONS, otherwise="mask_iou")]
AnySchedule: TypeAlias = Annotated[
    ConstantOptions | CosineOptions | ExponentialOptions, OneOf.by_key(SCHEDULE_OPTIONS, otherwise="constant")
]
