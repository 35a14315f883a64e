"""Find the nearest face at given points of the image."""

from diffrender.ops.query_visibility.op import query_visibility

__all__ = ["query_visibility"]
