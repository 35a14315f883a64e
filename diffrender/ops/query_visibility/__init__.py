"""What given points of the image see."""

from diffrender.ops.query_visibility.op import query_visibility

__all__ = ["query_visibility"]
