"""Take more samples where silhouettes pass, and find the silhouette segments that are seen."""

from diffrender.ops.supersample_silhouettes.op import AntialiasPlan, OutsidePoints, supersample_silhouettes

__all__ = ["AntialiasPlan", "OutsidePoints", "supersample_silhouettes"]
