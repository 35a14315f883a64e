"""Vectors made unit."""

from diffrender.ops.unit.op import unit

__all__ = ["unit"]
