"""Values of vertices at points of the image."""

from diffrender.ops.attributes.op import attributes

__all__ = ["attributes"]
