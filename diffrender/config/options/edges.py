"""The options of each edge model: how silhouettes are rendered."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from diffrender.config.options.base import OneOf, Strict, option
from diffrender.config.options.value_types import Pair, PositiveInt
from diffrender.config.scene_dependent_defaults import SAMPLES_OF_LEAST_SQUARES, SHARPEST_PX, SIGMAS_PER_SIDE

Sigma: TypeAlias = Annotated[float, Field(ge=SHARPEST_PX)]
"""Width of soft edges in pixels."""

Samples: TypeAlias = Annotated[
    int,
    Field(
        ge=1,
        le=16,
        description="a pixel on a silhouette is the mean of samples^2 points; if omitted: 4, or"
        f" {SAMPLES_OF_LEAST_SQUARES} with levenberg_marquardt",
    ),
]


class EdgeOptions(Strict, shorthands={str: "type"}):
    """Base of the edge models' options.

    moves_silhouettes: whether images have a gradient that moves silhouettes.
    """

    moves_silhouettes: ClassVar[bool] = True


class AntialiasOptions(EdgeOptions):
    """Silhouettes under a box filter of one pixel, with the gradient of their motion."""

    type: Literal["antialias"] = "antialias"
    samples: Samples = 4


class HardOptions(EdgeOptions):
    """Whole pixels; no gradients from silhouettes."""

    moves_silhouettes: ClassVar[bool] = False

    type: Literal["hard"] = "hard"


class AnnealOptions(Strict):
    """How soft edges sharpen during the fit."""

    sigma: Pair[Sigma] | None = option(
        None, f"first and last sigma in pixels; if omitted: from `sigma` of the edges to {SHARPEST_PX}"
    )
    until: PositiveInt | None = option(None, "step from which `then` applies; if omitted: half of the steps")
    then: Literal["antialias", "soft"] = option(
        "antialias", "edges from then on, and for scores and pictures; soft: with the last sigma"
    )


class SoftOptions(EdgeOptions):
    """The antialiased image, blurred, so that gradients reach further; sharpens during the fit."""

    type: Literal["soft"] = "soft"
    sigma: Sigma | None = option(
        None, f"blur in pixels, {SHARPEST_PX} for none; if omitted: 1/{SIGMAS_PER_SIDE} of the shorter side"
    )
    samples: Samples = 4
    anneal: AnnealOptions = option(AnnealOptions(), "how they sharpen during the fit")


AnyEdges: TypeAlias = Annotated[AntialiasOptions | HardOptions | SoftOptions, OneOf("type", otherwise="antialias")]
