"""Find the places of directions in a lat-long map."""

from diffrender.ops.lat_long_uv.op import lat_long_uv

__all__ = ["lat_long_uv"]
