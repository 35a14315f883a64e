"""Blur images with a Gaussian."""

from diffrender.ops.blur.op import blur, blur_parts

__all__ = ["blur", "blur_parts"]
