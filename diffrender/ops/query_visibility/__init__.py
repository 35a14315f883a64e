"""What given points of the image see."""

from diffrender.ops.query_visibility.op import probe

__all__ = ["probe"]
