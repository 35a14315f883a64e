"""More samples where outlines pass, and the outlines that are seen."""

from diffrender.ops.supersample_silhouettes.op import AntialiasPlan, OutsidePoints, supersample_silhouettes

__all__ = ["AntialiasPlan", "OutsidePoints", "supersample_silhouettes"]
