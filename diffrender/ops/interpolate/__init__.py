"""Interpolate values of vertices at points on faces."""

from diffrender.ops.interpolate.op import interpolate

__all__ = ["interpolate"]
