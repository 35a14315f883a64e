"""The options of `loss`: terms between images, masks and AOVs, and regularisers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field

from diffrender.config.options.base import Finding, OneOf, Strict, option
from diffrender.config.options.value_types import NonzeroVector, PositiveFloat, Vector, Weight

Pointwise: TypeAlias = Literal["l1", "l2", "huber", "charbonnier"]
"""The costs of one difference."""


class TermOptions(Strict, shorthands={float: "weight"}):
    """One term of the loss."""

    weight: Weight = option(1.0, "factor of the term")


class ImageLossOptions(TermOptions, shorthands={str: "type"}):
    """Base of the options of losses between images."""

    space: Literal["srgb", "linear", "log"] = option(
        "srgb", "colour space in which images are compared; log: log(1 + x), for targets far above 1"
    )


class PointwiseOptions(ImageLossOptions):
    """Base of the options of losses that compare pixel with pixel."""

    trim: float = option(
        0.0, "share of the pixels of each view that differ, the ones that differ most, not to count", ge=0, le=0.5
    )


class L1Options(PointwiseOptions):
    """Mean absolute difference."""

    type: Literal["l1"] = "l1"


class L2Options(PointwiseOptions):
    """Mean squared difference."""

    type: Literal["l2"] = "l2"


class HuberOptions(PointwiseOptions):
    """Squared for small differences, absolute for large ones."""

    type: Literal["huber"] = "huber"
    delta: PositiveFloat = option(0.1, "difference above which it is absolute")


class CharbonnierOptions(PointwiseOptions):
    """Absolute, with a smooth bottom."""

    type: Literal["charbonnier"] = "charbonnier"
    epsilon: PositiveFloat = option(0.01, "difference around which it turns from squared to absolute")


class PyramidOptions(ImageLossOptions):
    """Another loss at several resolutions."""

    type: Literal["pyramid"] = "pyramid"
    of: Pointwise = option("l1", "the loss at each resolution")
    levels: int = option(4, "number of resolutions, each half of the one before", ge=1, le=16)


ImageLoss: TypeAlias = Annotated[
    L1Options | L2Options | HuberOptions | CharbonnierOptions | PyramidOptions, OneOf("type", otherwise="l1")
]


class MaskLossOptions(TermOptions, shorthands={str: "type"}):
    """Between silhouettes."""

    type: Literal["mask_iou", "l1"] = option(
        "mask_iou", "mask_iou: one minus intersection over union; l1: mean absolute difference, over the whole image"
    )


class AovLossOptions(TermOptions, shorthands={str: "type"}):
    """Between images of normals or of depths, for targets that have them."""

    type: Pointwise = option("l1", "the cost of a difference")


class NormalConsistencyOptions(TermOptions):
    """Neighbouring faces of similar direction."""

    early: PositiveFloat = option(
        1.0, "factor of the weight at the first step; it falls to 1 in the first two fifths of the fit"
    )


class ColorSmoothnessOptions(TermOptions):
    """Total variation of base colours."""

    relative: bool = option(
        False, "whether the weight is times the present value of `image`: smoother where pictures disagree more"
    )


class SymmetryOptions(TermOptions):
    """The surface is its own mirror image."""

    normal: NonzeroVector = option((1.0, 0.0, 0.0), "of the mirror plane, in the object's own frame; need not be unit")
    point: Vector = option((0.0, 0.0, 0.0), "a point of the plane, in the object's own frame")


class MaterialSmoothnessOptions(TermOptions):
    """Total variation of roughness, metallic and normal maps."""

    chroma: Weight = option(
        0.05,
        "a change of the base colour's chroma by this much lets the others change at 1/e of the cost;"
        " 0: the cost is the same everywhere",
    )


def _term(description: str) -> Any:
    return Field(default=None, description=description)


class LossOptions(Strict):
    """The terms that are added up; null or weight 0 omits a term.

    What a file names is added to the default. Of a default term of the same type it replaces the options that it names;
    of another type, the whole; a null removes one.
    """

    writes_nulls: ClassVar[bool] = True

    image: ImageLoss | None = option(L1Options(), "between images")
    mask: MaskLossOptions | None = _term("between silhouettes")
    normal: AovLossOptions | None = _term("between images of world normals")
    depth: AovLossOptions | None = _term("between images of camera depth")
    laplacian: TermOptions | None = _term(
        "vertices near the mean of their neighbours: little curvature, even triangles"
    )
    bilaplacian: TermOptions | None = _term("curvature near that of the neighbours: no noise, but bulges may stay")
    normal_consistency: NormalConsistencyOptions | None = _term(
        "neighbouring faces of similar direction: smooth normals"
    )
    edge_length: TermOptions | None = _term("edges of equal length")
    arap: TermOptions | None = _term("as rigid as possible: neighbourhoods keep their initial shape, but may rotate")
    symmetry: SymmetryOptions | None = _term("equal to its mirror image")
    color_smoothness: ColorSmoothnessOptions | None = _term("total variation of base colours: few changes")
    material_smoothness: MaterialSmoothnessOptions | None = _term(
        "few changes of roughness, metallic and normal maps, except where colours change"
    )
    white_light: TermOptions | None = _term("gray lights")

    def aovs(self) -> dict[str, AovLossOptions]:
        """Return the losses on AOVs by the AOV that each compares."""
        terms = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: term for name, term in terms.items() if isinstance(term, AovLossOptions)}

    def rules(self) -> Iterator[Finding]:
        """Yield a term that lacks another."""
        is_relative = self.color_smoothness is not None and self.color_smoothness.relative
        if is_relative and (self.image is None or self.image.weight == 0):
            yield Finding(
                ("color_smoothness", "relative"), "`relative` needs `loss.image`, whose value the weight is times", ()
            )
