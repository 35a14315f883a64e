"""Blur images with a Gaussian."""

from diffrender.ops.blur.op import blur

__all__ = ["blur"]
