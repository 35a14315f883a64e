"""Vectors made unit."""

from diffrender.ops.normalize.op import normalize

__all__ = ["normalize"]
