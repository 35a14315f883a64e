"""Interpolate values of vertices at points of the image."""

from diffrender.ops.interpolate_at_pixels.op import interpolate_at_pixels

__all__ = ["interpolate_at_pixels"]
