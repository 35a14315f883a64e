"""What a diffuse surface reflects of light from single directions."""

from diffrender.ops.lambert.op import lambert

__all__ = ["lambert"]
