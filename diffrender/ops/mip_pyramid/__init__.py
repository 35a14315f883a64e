"""An image and its successive halves."""

from diffrender.ops.mip_pyramid.op import MipPyramid, mip_pyramid

__all__ = ["MipPyramid", "mip_pyramid"]
