"""Build the mip levels of an image."""

from diffrender.ops.mip_pyramid.op import MipPyramid, mip_pyramid

__all__ = ["MipPyramid", "mip_pyramid"]
