"""Find the texture coordinates that points of the image see, and their derivatives."""

from diffrender.ops.screen_uvs.op import screen_uvs

__all__ = ["screen_uvs"]
