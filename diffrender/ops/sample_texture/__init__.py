"""Values of an image at any place."""

from diffrender.ops.sample_texture.op import WRAPS, sample_texture

__all__ = ["WRAPS", "sample_texture"]
