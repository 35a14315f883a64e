"""Vectors made unit."""

from diffrender.ops.normalize.op import unit

__all__ = ["unit"]
