"""From shaded samples to an image whose outlines have gradients."""

from diffrender.ops.antialias.op import Outlines, antialias

__all__ = ["Outlines", "antialias"]
