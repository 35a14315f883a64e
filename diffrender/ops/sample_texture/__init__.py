"""Sample a texture at given coordinates."""

from diffrender.ops.sample_texture.op import WRAPS, sample_texture

__all__ = ["WRAPS", "sample_texture"]
