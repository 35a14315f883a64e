"""Take more samples where silhouettes pass, and find the silhouette segments that are seen."""

from diffrender.ops.supersample_silhouettes.op import (
    OUTSIDE_PX,
    TOUCHING_DEPTH,
    TOUCHING_PX,
    AntialiasPlan,
    OutsidePoints,
    supersample_silhouettes,
)

__all__ = [
    "OUTSIDE_PX",
    "TOUCHING_DEPTH",
    "TOUCHING_PX",
    "AntialiasPlan",
    "OutsidePoints",
    "supersample_silhouettes",
]
