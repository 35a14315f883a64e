"""Values of vertices carried to points on faces."""

from diffrender.ops.interpolate.op import interpolate

__all__ = ["interpolate"]
