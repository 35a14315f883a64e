"""Turn shaded samples into an image whose silhouettes have gradients."""

from diffrender.ops.antialias.op import VisibleSegments, antialias

__all__ = ["VisibleSegments", "antialias"]
