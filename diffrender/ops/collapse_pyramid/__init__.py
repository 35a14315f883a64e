"""The sum of an image pyramid."""

from diffrender.ops.collapse_pyramid.op import collapse_pyramid

__all__ = ["collapse_pyramid"]
