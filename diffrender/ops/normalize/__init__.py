"""Divide vectors by their lengths."""

from diffrender.ops.normalize.op import normalize

__all__ = ["normalize"]
