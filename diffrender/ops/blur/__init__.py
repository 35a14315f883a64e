"""Blur images with a Gaussian."""

from diffrender.ops.blur.op import blur, blur_channels

__all__ = ["blur", "blur_channels"]
