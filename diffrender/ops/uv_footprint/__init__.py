"""How much of a texture a pixel sees."""

from diffrender.ops.uv_footprint.op import uv_footprint

__all__ = ["uv_footprint"]
