"""From shaded samples to an image whose outlines have gradients."""

from diffrender.ops.antialias.op import VisibleSegments, antialias

__all__ = ["VisibleSegments", "antialias"]
