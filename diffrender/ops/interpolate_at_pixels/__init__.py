"""Values of vertices at points of the image."""

from diffrender.ops.interpolate_at_pixels.op import attributes

__all__ = ["attributes"]
